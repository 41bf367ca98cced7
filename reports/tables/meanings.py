"""What the columns of the tables say, for the reader who meets them for the first time."""

from __future__ import annotations

from metrics.catalogue import SPECS
from reports.columns import spec_of
from reports.tables.table import Heading, Table

SEGMENTS = {
    "start": "over the first 15 % of the video",
    "end": "over the last 15 % of the video",
    "drift": "the size of its change from the first to the last 15 % of the video",
    "drift_signed": "its change from the first to the last 15 % of the video, with the sign",
    "slope": "its trend per second over the whole video",
    "joint": "how much more it jumps where sections meet than elsewhere",
    "onset": "how much it changes from the first 15 % of the video to the next 15 %",
}

MEANINGS = {
    # variants
    "made": "Videos made, of those asked for.",
    "elo": "Rating from people's votes: 400 points more is ten wins to one loss.",
    "rank": "Place by ELO; within 16 points is a tie.",
    # people
    "elo_rank": "Place by ELO; within 16 points is a tie.",
    "elo_spread": "How far ELO moves with nothing but the order of the votes (standard deviation).",
    "rating": "Bradley-Terry rating from the same votes, on ELO's scale; no order plays a part.",
    "rating_rank": "The places that the votes leave possible.",
    "votes": "Votes counted.",
    "wins": "Votes for this variant.",
    "losses": "Votes for the other.",
    "ties": "Votes for neither, both being as good.",
    "both_bad": "Votes that found both bad; in no rating.",
    # differences and their tests
    "pairs": "Videos of the same prompt and seed that were compared.",
    "metric": "The column that was tested.",
    "difference": "The variant's mean minus the baseline's.",
    "p": "Chance of a difference as large if the two were alike.",
    "p_holm": "p, corrected for the variants tested in this column.",
    "p_all": "p, corrected for all variants and columns tested.",
    "prompts": "Prompts that both have videos of.",
    # variance
    "sampler": "Share that goes with the order of sampling; +D counts as a sampler.",
    "packing": "Share that goes with the context's packing.",
    "section": "Share that goes with the length of a section.",
    "other of variant": "Share that goes with the variant beyond these three.",
    "prompt": "Share that goes with the prompt.",
    "seed": "Share that goes with the seed, under the same prompt.",
    "shared": "Share that goes with several of these at once: the sweep did not tell them apart.",
    "rest": "Share that none of these explains.",
    "videos": "Videos with a value.",
    # agreement
    "rho_rating": "Rank correlation of the metric's means with people's ratings, over variants.",
    "p_rating": "Chance of so strong a correlation if there were none.",
    "rho_dynamic": "Rank correlation of the metric's means with those of Dynamic, over variants.",
    "p_dynamic": "Chance of so strong a correlation if there were none.",
    "agrees": "How often the video that was preferred has the better score; 50 is chance.",
    # power
    "detectable": "The true difference that this study finds in 8 of 10 tries.",
    "largest": "The largest difference to the baseline that was measured.",
    "error": "Standard error of a difference; the median over variants.",
    "prompts_for_one_point": "Prompts with which a true difference of one point would be found.",
    # cost
    "tokens_first": "Tokens that the model reads in the first section that it makes.",
    "tokens_last": "Tokens of the section that has most of them.",
    "seconds_per_frame": "Wall seconds for a frame of video, all included.",
    "seconds_per_section": "Wall seconds of denoising one section.",
    "peak_memory": "The most memory of the device that a video took.",
    "untrained": "Parts that this variant needs and the checkpoint lacks; they were initialised.",
    # counts
    "asked": "Videos asked for.",
    "failed": "Videos whose making failed.",
    "unfinished": "Videos neither made nor failed.",
    "scored": "Videos with any score.",
    "kind": "The error's class.",
    "message": "The error's own words.",
    # claims
    "verdict": "Supported, contradicted or not decided by this study.",
    "because": "The part of the claim that decides.",
    "effect": "The difference that the hypothesis is about.",
    "unit": "What the effect is counted in.",
    "counted": "Videos or votes that it rests on.",
    "needed": "How many would decide it.",
    # endings
    "departure.end": "Colour distance of the end's layout from the first frame's.",
    "reach": "The largest such distance while quality holds.",
}

HERE = {
    ("coverage", "made"): "Videos made.",
    ("correlation", "votes"): "Votes for one side between videos that have a score.",
    ("failures", "prompt"): "The prompt's name.",
    ("failures", "seed"): "The seed of the noise.",
    ("power", "prompts"): "Prompts compared; the median over variants.",
}
"""Where a table's column says something of its own."""


def meaning(table: str, heading: Heading) -> str:
    """One sentence on what a column says; empty where there is none."""
    known = HERE.get((table, heading.key)) or MEANINGS.get(heading.key)
    return known or _of_score(heading)


def meanings(table: Table) -> list[tuple[str, str]]:
    """Titles of a table's columns and what they say, as far as that is known."""
    told = [(heading.title, meaning(table.name, heading)) for heading in table.headings]
    return [(title, text) for title, text in told if text]


def _of_score(heading: Heading) -> str:
    """What a score's column says, by the metrics' catalogue."""
    key = heading.key.partition("@")[0]
    if key.endswith("_videos"):
        return f"Videos with a value of {heading.title}."
    metric, _, segment = key.partition(".")
    if metric not in SPECS:
        return ""
    spec = spec_of(metric)
    what = spec.what.rstrip(".")
    if segment == "excess":
        return f"{spec.title}: how much more it changes at the start than later on."
    if segment:
        return f"{spec.title}: {SEGMENTS.get(segment, segment)}."
    unit = f", in {spec.unit}" if spec.unit else ""
    return f"{what}{unit}."
