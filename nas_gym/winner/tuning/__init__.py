"""Tuning the recipe of a run's winner by what Optuna's importance says: `nas-gym tune`.

`space.py` says what is searched, `trials.py` is one stage of a search in a study, `importance.py` says which
hyper-parameters matter, `narrowing.py` makes the space of the second stage of that, `two_stages.py` puts these in order
(nothing in them knows networks), `trainer.py` trains, `workers.py` does so in other processes, `tuning.py` is the whole
command.
"""
