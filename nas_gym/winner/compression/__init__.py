"""A winner made smaller and faster (`nas-gym compress`): pruned, quantised, distilled, and what each of these costs."""
