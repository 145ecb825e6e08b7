"""Who decides: context and candidates -> scores and a rule, learnt from slates. One file each; names in `registry`."""
