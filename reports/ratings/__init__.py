"""Ratings from votes: `reports.ratings.board.rate(votes)` gives all, and what stands in their way.

`ballots` are votes as numbers; `bradley_terry` the model; `graph` what can be compared at all;
`resampling` how sure a fit is; `ranks`; `win_rates` the raw matrix; `agreement` and `raters` how
far raters can be trusted; `board` puts them together. `reports.elo` is the paper's ELO-K32.
"""
