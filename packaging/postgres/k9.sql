-- The application's role and database, made once, when the volume is new.
-- CREATEDB: backups are verified in a scratch database. psql reads the password itself: an argument could be seen by `ps`.
\set password `cat /run/secrets/k9_password`
CREATE ROLE k9 LOGIN CREATEDB PASSWORD :'password';
CREATE DATABASE k9 OWNER k9;
