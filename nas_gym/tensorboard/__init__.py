"""The TensorBoard tab *NAS decisions*: every decision of every episode, with what the policy computed.

`loader.py` is what TensorBoard finds (entry point ``tensorboard_plugins``), `plugin.py` answers its pages' questions,
`reading.py` finds the answers in the event files, `records.py` says what is written there, `payload.py` how. The pages
themselves are in ``static/``. `docs/tensorboard.md` shows the tab.
"""

PLUGIN = "nas_decisions"
TAB = "NAS decisions"
