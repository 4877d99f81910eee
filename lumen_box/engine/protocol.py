"""What gateway and worker say to each other over the control socket (see ``framing`` for the bytes).

The gateway sends ``Load`` once, with the open file of the encrypted weights beside it (SCM_RIGHTS) and the content key
in the frame's tail, never in the JSON. Then any number of ``Generate`` or ``Embed`` (whichever the model is for),
``Cancel``, ``Tokenize``, ``Share`` and ``Forget``. The worker answers every decode step with one ``Step`` frame that
holds the news of all sequences. For one request the order is ``Accepted``, any number of ``Queued`` while it waits for
a slot, any number of ``Tokens`` or ``Embedded``, and ``Finished``; or ``Refused`` alone. A ``Beat`` comes at least
every ``BEAT_SECONDS``, also while loading and in the middle of a long step: a worker without one is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from ..config import EngineSettings
from .sampling import Sampling

BEAT_SECONDS: Final = 0.5
MAX_STOPS: Final = 16
MAX_STOP_LENGTH: Final = 1024
MAX_STOP_TOKENS: Final = 64
MAX_LOGPROBS: Final = 20
MAX_WAITING: Final = 1024  # requests that wait in a worker; the gateway's own queue is shorter
MAX_SHARED: Final = 64  # published prefixes
MAX_SHARED_TEXT: Final = 4 * 1024 * 1024  # characters of all published prefixes together
MAX_INPUTS: Final = 2048  # texts of one request for embeddings, as OpenAI's
MAX_INPUT_TOKENS: Final = 300_000  # of all of them together, as OpenAI's
MAX_NUMBERS: Final = 4 * 1024 * 1024  # in all vectors of one request: 16 MiB
MAX_WIDTH: Final = 65_536  # numbers of one vector
MAX_SEQUENCES: Final = 64  # texts that one step embeds: with the widest vectors just what a frame's tail takes

Reason = Literal["stop", "length", "cancelled", "error"]
Role = Literal["chat", "embedding"]  # what a model is loaded for


# ---- gateway → worker ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """``stored_size`` is the size of the ciphertext in bytes; ``object_id`` 32 hex digits. ``memory`` is how many bytes
    of RAM the worker may take. ``check_only`` validates and loads without reading or allocating the weights."""

    object_id: str
    stored_size: int
    settings: EngineSettings
    reasoning: tuple[str, str] | None = None
    check_only: bool = False
    role: Role = "chat"
    memory: int = 0


@dataclass(frozen=True)
class Generate:
    """One request. A ``prompt`` of text is tokenised by the worker, begins-of-sequence token included.

    ``max_tokens`` None = up to the context. Each of ``stop_tokens`` ends the answer as the model's own end token does.
    ``logprobs`` = how many alternatives to report per token (0 = only the token's own), None = none at all. With
    ``split_reasoning`` text between the manifest's markers comes apart. Lower ``priority`` goes first;
    ``owner`` is whose request it is: for fairness between people, and what is kept of an answer is reused for the same
    owner alone. ``isolated`` runs with no other sequence in its steps and reuses nothing, so that the answer is that of
    a run alone, bit by bit; everybody else waits meanwhile. With a ``grammar`` (GBNF with the start rule ``root``) the
    answer after the reasoning is one that it takes, unless it is cut short. In a text no token spans one of
    ``breaks``: rising offsets in characters (see ``imitation``). The supervisor gives the ``id``.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logprobs: int | None = None
    parse_special: bool = True
    split_reasoning: bool = True
    priority: int = 0
    owner: str = ""
    isolated: bool = False
    grammar: str | None = None
    breaks: tuple[int, ...] = ()
    id: int = 0


@dataclass(frozen=True)
class Embed:
    """One vector for each of ``inputs``: texts, which the worker tokenises with the model's special tokens round them,
    or tokens taken as they are. ``priority``, ``owner`` and ``id`` as in ``Generate``."""

    inputs: tuple[str | tuple[int, ...], ...]
    priority: int = 0
    owner: str = ""
    id: int = 0


@dataclass(frozen=True)
class Cancel:
    id: int


@dataclass(frozen=True)
class Share:
    """The whole set of published prefixes, replacing the set before; text as the template renders it."""

    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Forget:
    """Everything kept of this owner's ended answers is wiped now; the empty owner means everybody's."""

    owner: str


@dataclass(frozen=True)
class Tokenize:
    id: int
    text: str
    add_special: bool = False
    parse_special: bool = False


# ---- worker → gateway: one request's news --------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    id: int
    prompt_tokens: int


@dataclass(frozen=True)
class Queued:
    """``ahead`` requests will be begun before this one, as things stand; told when it changes."""

    id: int
    ahead: int


@dataclass(frozen=True)
class Alternative:
    """A token, its bytes (one Latin-1 character each, since a token may hold half a UTF-8 character), and the natural
    logarithm of its probability before sampling."""

    token: int
    raw: str
    logprob: float

    @property
    def bytes(self) -> bytes:
        return self.raw.encode("latin-1")

    @property
    def text(self) -> str:
        return self.bytes.decode("utf-8", "replace")


@dataclass(frozen=True)
class Logprob(Alternative):
    """The token that was chosen, and the most likely ones at that place."""

    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True)
class Tokens:
    """News of one sequence: tokens sampled in this step, and the text that is now certain.

    The text may lag behind the tokens: half a character and the possible beginning of a stop string or marker are held
    back. ``logprobs`` come with the text of their token, so none is reported for a stop string.
    """

    id: int
    ids: tuple[int, ...]
    text: str = ""
    reasoning: str = ""
    logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True)
class Embedded:
    """The vector of input ``index``: 32-bit floats, little-endian, of length 1 together (all noughts where the model
    says nothing)."""

    id: int
    index: int
    vector: bytes


@dataclass(frozen=True)
class Usage:
    """Tokens, the end-of-text token not counted; ``reasoning_tokens`` are among the ``completion_tokens``."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """Seconds: waiting for a place, reading the prompt (until the first token), and writing the answer."""

    waiting: float
    prompt: float
    answer: float


@dataclass(frozen=True)
class Finished:
    """``stop_text`` is the stop string that ended the answer, if one did; ``message`` says what an ``error`` was, and
    ``code`` which ``LumenError`` where it was not the engine's failure."""

    id: int
    reason: Reason
    usage: Usage
    timings: Timings
    stop_text: str | None = None
    message: str = ""
    code: str = ""


@dataclass(frozen=True)
class Refused:
    """The request was not begun. ``code`` is that of a ``LumenError``."""

    id: int
    code: str
    what: str
    then: str = ""


Event = Accepted | Queued | Tokens | Embedded | Finished | Refused


# ---- worker → gateway: the worker's own news -----------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """The sandbox is closed and the worker waits for ``Load``; only now may a key be sent."""

    pid: int


@dataclass(frozen=True)
class Loading:
    percent: int


@dataclass(frozen=True)
class ModelFacts:
    """What is known once a model is loaded. ``context`` counts tokens of one sequence; sizes are bytes. ``embedding``
    counts the numbers of a vector, and ``pooling`` names how one comes of many tokens: 0 and empty for a model that
    writes text.

    ``kv_bytes`` is the KV cache of all sequences, ``cache_bytes`` what the KV of resting conversations may take beside
    it in host memory, ``host_bytes`` what all the rest was reckoned to take of it; ``reasons`` say why.
    ``controls`` are the texts of the tokens that steer a model, such as the end of a turn.
    """

    description: str
    architecture: str
    parameters: int
    model_bytes: int
    context: int
    trained_context: int
    vocabulary: int
    parallel: int
    batch: int
    threads: int
    layers: int
    gpu_layers: int
    bos: str = ""
    eos: str = ""
    chat_template: str = ""
    load_seconds: float = 0.0
    resident_bytes: int = 0
    memory_locked: bool = False
    kv_type: str = "f16"
    flash_attention: bool = False
    kv_bytes: int = 0
    cache_bytes: int = 0
    host_bytes: int = 0
    reasons: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    embedding: int = 0
    pooling: str = ""


@dataclass(frozen=True)
class Loaded:
    facts: ModelFacts


@dataclass(frozen=True)
class LoadFailed:
    """``code`` is that of a ``LumenError``."""

    code: str
    what: str
    then: str = ""


@dataclass(frozen=True)
class Step:
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Beat:
    """The worker lives. ``step_seconds`` is how long the present decode step has taken so far, 0 between steps."""

    running: int = 0
    waiting: int = 0
    steps: int = 0
    step_seconds: float = 0.0


@dataclass(frozen=True)
class TokenIds:
    """The answer to ``Tokenize``; the other one is ``Refused``."""

    id: int
    ids: tuple[int, ...]


ToWorker = Load | Generate | Embed | Cancel | Tokenize | Share | Forget
FromWorker = Ready | Loading | Loaded | LoadFailed | Step | Beat | TokenIds | Refused
