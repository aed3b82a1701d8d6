"""Results side by side: who is better, how sure that is, and what it cost.

`results` reads what runs wrote, `systems` groups the seeds of one recipe, `mixing` refuses what does not belong
together, `truth` finds the right answers, `table` measures and `testing` tests; `wording`, `pages`, `texts` and `study`
write it down. `plan` and `running` train what is asked for and not yet there; `running` alone needs torch.
"""
