"""attnscope in a notebook. Put this file and widget.js beside the notebook; it needs anywidget, and numpy for `view`.

    import attnscope
    attnscope.view(outputs.attentions, tokens)         # what transformers computed: a list of [1, heads, q, k] arrays
    attnscope.figure("One day, a girl", b="alibi", base="https://…/")   # a model that runs in the reader's browser
"""

import pathlib
from urllib.parse import quote

import anywidget
import traitlets


class AttnScope(anywidget.AnyWidget):
    """A figure. `link`, `layer` and `head` follow what the reader does; `numbers` holds the newest run of a live one."""

    _esm = pathlib.Path(__file__).with_name("widget.js")
    base = traitlets.Unicode("").tag(sync=True)
    link = traitlets.Unicode("").tag(sync=True)
    hide = traitlets.Unicode("").tag(sync=True)
    theme = traitlets.Unicode("").tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)
    patterns = traitlets.Bytes(b"").tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)


def figure(prompt, a="softmax", b=None, model="stories-3m", base="", hide="tabs profiles", theme="", **parameters):
    """A live figure. Further keywords are parameters of a link: `pin="L1H5"`, `show="scores"`, …"""
    pairs = {"v": 1, "m": model, "p": prompt, "a": a, **({"b": b} if b else {}), **parameters}
    link = "&".join(f"{key}={quote(str(value), safe='(),:')}" for key, value in pairs.items())
    return AttnScope(base=base, link=link, hide=hide, theme=theme)


def view(patterns, tokens, layer=0, head=0):
    """Patterns computed elsewhere: `[layers, heads, queries, keys]`, or one `[1, heads, queries, keys]` per layer."""
    import numpy as np

    def plain(array):
        array = array.detach().float().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
        return array[0] if array.ndim == 4 else array

    whole = patterns if getattr(patterns, "ndim", 0) == 4 else [plain(layer) for layer in patterns]
    whole = whole.detach().float().cpu().numpy() if hasattr(whole, "detach") else np.asarray(whole)
    if whole.ndim != 4:
        raise ValueError(f"patterns have shape {whole.shape}; expected [layers, heads, queries, keys]")
    if len(tokens) != whole.shape[3]:
        raise ValueError(f"{len(tokens)} tokens came for {whole.shape[3]} keys")
    data = np.ascontiguousarray(whole, dtype="<f4").tobytes()
    return AttnScope(patterns=data, shape=list(whole.shape), tokens=[str(token) for token in tokens], layer=layer, head=head)
