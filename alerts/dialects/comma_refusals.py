"""Comma commands that cannot be carried out here, and what to send instead. Pure."""

_SWITCH = "It switches a robot of another service. Pause the feed, or the subscription, instead."
_PART = "A share of each account's position is sent as JSON: CLOSE with close_fraction."
_TWICE = "It closes and opens the same side. Send the close and the entry as two alerts."
_WAITING = "It is about an entry that waits. Cancel it, and send a new one."
REFUSED = {
    **dict.fromkeys(("eaon", "eaoff", "closealleaoff", "launch"), _SWITCH),
    **dict.fromkeys(("closelongpct", "closeshortpct", "closelongvol", "closeshortvol"), _PART),
    **dict.fromkeys(
        ("closelongbuy", "closelongopenlong", "closeshortsell", "closeshortopenshort",
         "closelongshortopenlong", "closelongshortopenshort"), _TWICE,
    ),
    **dict.fromkeys(
        ("newsltpbuystop", "newsltpbuylimit", "newsltpsellstop", "newsltpselllimit",
         "cancellongbuystop", "cancellongbuylimit", "cancelshortsellstop",
         "cancelshortselllimit"), _WAITING,
    ),
}  # fmt: skip
