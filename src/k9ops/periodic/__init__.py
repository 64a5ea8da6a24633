"""The timetable and its dispatcher: `periodiq k9ops.periodic` starts a scheduler; several may run side by side."""

from k9ops.periodic.scheduler import become_scheduler, is_scheduler_process

if is_scheduler_process():
    become_scheduler()
