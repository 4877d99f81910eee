"""Trains the guide from nothing: ``python -m models.guide.train``; ``--help`` says what can be changed.

From the seed follow the text, the tokenizer, the first weights and the order of everything: on one machine, with one
number of threads, the same command makes the same file. Only answers are learnt, not questions. A checkpoint is a
finished model: the mean of the last weights, written as GGUF, so that any of them can be tried or shipped.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as fn

from . import conversations, export
from .network import Network, Shape
from .tokenizer import END, START, Tokenizer, learn

FOLDER = Path(__file__).parent
TOKENIZER_TEXTS = 12_000  # conversations that the tokenizer is learnt from
POOL = 256  # conversations that are sorted by length together
IGNORED = -100


@dataclass(frozen=True)
class Recipe:
    """Everything that the result depends on."""

    seed: int = 4
    steps: int = 1000
    batch_tokens: int = 3072
    merges: int = 3800
    matrix_rate: float = 0.02
    embedding_rate: float = 0.006
    output_rate: float = 0.003
    warm_up: int = 20  # steps
    decay: int = 350  # steps, the last ones
    averaged: float = 0.98  # how much of the mean stays at each step


def example(conversation: list[conversations.Turn], tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """The tokens of a conversation, and which of them are to be learnt."""
    tokens: list[int] = []
    learnt: list[bool] = []
    start, end, line = tokenizer.ids[START], tokenizer.ids[END], tokenizer.encode("\n")
    for role, text in conversation:
        head = [start, *tokenizer.encode(f"{role}\n")]
        body = [*tokenizer.encode(text), end]
        tokens += head + body + line
        learnt += [False] * len(head) + [role == "assistant"] * len(body) + [False] * len(line)
    return tokens, learnt


def batches(recipe: Recipe, tokenizer: Tokenizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (batch, length); conversations of like length together, what is not learnt ``IGNORED``."""
    stream = conversations.training(recipe.seed)
    order = Random(recipe.seed)  # noqa: S311 - an order, not a key
    while True:
        pool = sorted((example(next(stream), tokenizer) for _ in range(POOL)), key=lambda one: len(one[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for one in pool:
            if groups[-1] and len(one[0]) * (len(groups[-1]) + 1) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(one)
        order.shuffle(groups)
        yield from map(_padded, groups)


def _padded(group: list[tuple[list[int], list[bool]]]) -> tuple[Tensor, Tensor]:
    length = max(len(tokens) for tokens, _ in group)
    inputs = torch.zeros(len(group), length - 1, dtype=torch.long)
    targets = torch.full_like(inputs, IGNORED)
    for row, (tokens, learnt) in enumerate(group):
        inputs[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        wanted = [token if yes else IGNORED for token, yes in zip(tokens[1:], learnt[1:], strict=True)]
        targets[row, : len(wanted)] = torch.tensor(wanted)
    return inputs, targets


def rate(recipe: Recipe, step: int) -> float:
    """Up in a line, level, and down in a line to a hundredth. How long the level is changes nothing before its end."""
    return min(1.0, (step + 1) / recipe.warm_up, max(0.01, (recipe.steps - step) / recipe.decay))


def optimizers(network: Network, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [weight for name, weight in network.named_parameters() if name.startswith("blk.") and weight.dim() == 2]
    norms = [weight for weight in network.parameters() if weight.dim() == 1]
    others = [
        {"params": [network.token_embd.weight], "lr": recipe.embedding_rate},
        {"params": [network.output.weight, *norms], "lr": recipe.output_rate},
    ]
    return [
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(network: Network, inputs: Tensor, targets: Tensor) -> Tensor:
    where = targets != IGNORED
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(inputs, where)
    return fn.cross_entropy(logits.float(), targets[where])


@dataclass
class Run:
    """A training under way, and where it leaves what it makes."""

    recipe: Recipe
    tokenizer: Tokenizer
    network: Network
    folder: Path

    def __post_init__(self) -> None:
        self.steppers = optimizers(self.network, self.recipe)
        self.usual = [[group["lr"] for group in stepper.param_groups] for stepper in self.steppers]
        self.mean = {name: weight.detach().clone() for name, weight in self.network.state_dict().items()}
        self.step, self.seen, self.seconds = 0, 0, 0.0
        self.losses: list[tuple[int, int, str]] = []

    def train(self, every: float) -> None:
        """Trains to the end; every so many seconds, and at the end, the mean of the weights is written."""
        source = itertools.islice(batches(self.recipe, self.tokenizer), self.step, self.recipe.steps)
        last = written = time.monotonic()
        for inputs, targets in source:
            loss = self._learn(inputs, targets)
            self.seconds += time.monotonic() - last
            last = time.monotonic()
            self.losses.append((self.step, self.seen, f"{loss:.4f}"))
            if self.step % 10 == 0:
                print(f"step {self.step} of {self.recipe.steps}  loss {loss:.3f}  {self.seconds:.0f} s", flush=True)
            if last - written > every:
                written = last
                self._keep()
        self._write("guide.gguf")
        self._note()

    def _learn(self, inputs: Tensor, targets: Tensor) -> float:
        """One step: down the gradient, and the mean after it."""
        factor = rate(self.recipe, self.step)
        for stepper, rates in zip(self.steppers, self.usual, strict=True):
            for group, one in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = one * factor
        loss = loss_of(self.network, inputs, targets)
        loss.backward()
        for stepper in self.steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        self.step, self.seen = self.step + 1, self.seen + inputs.numel()
        kept = min(self.recipe.averaged, self.step / (self.step + 10))
        for name, weight in self.network.state_dict().items():
            self.mean[name].lerp_(weight, 1 - kept)
        return loss.item()

    def _write(self, name: str) -> None:
        export.write(self.folder / name, self.mean, self.network.shape, self.tokenizer)

    def _keep(self) -> None:
        """A model to try, and the state to go on from."""
        self._write("checkpoint.gguf")
        steppers = [stepper.state_dict() for stepper in self.steppers]
        counts = (self.step, self.seen, self.seconds, self.losses)
        beside = self.folder / "checkpoint.tmp"
        torch.save((self.network.state_dict(), self.mean, steppers, counts), beside)
        beside.replace(self.folder / "checkpoint.pt")

    def resume(self) -> None:
        """Goes on from the last checkpoint, as if it had never stopped."""
        weights, self.mean, steppers, counts = torch.load(self.folder / "checkpoint.pt")
        self.network.load_state_dict(weights)
        for stepper, state in zip(self.steppers, steppers, strict=True):
            stepper.load_state_dict(state)
        self.step, self.seen, self.seconds, self.losses = counts

    def _note(self) -> None:
        with (self.folder / "loss.csv").open("w", newline="") as file:
            log = csv.writer(file, lineterminator="\n")
            log.writerow(("step", "tokens", "loss"))
            log.writerows(self.losses)
        notes = {
            "recipe": asdict(self.recipe),
            "parameters": self.network.size,
            "tokens": self.seen,
            "seconds": round(self.seconds),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        (self.folder / "training.json").write_text(json.dumps(notes, indent=2) + "\n")


def tokenizer_for(recipe: Recipe) -> Tokenizer:
    texts = itertools.islice(conversations.training(recipe.seed), TOKENIZER_TEXTS)
    return learn((text for conversation in texts for _, text in conversation), recipe.merges)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the guide from nothing.")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--decay", type=int, default=Recipe.decay, help="how many of the steps slow down to the end")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the model and its notes go")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=float, default=150, metavar="SECONDS", help="how often one is written")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(asked.seed)
    torch.set_num_threads(asked.threads)
    recipe = Recipe(seed=asked.seed, steps=asked.steps, decay=min(asked.decay, asked.steps))
    learnt = asked.folder / "checkpoint.merges"
    if not asked.resume:
        learnt.write_text(json.dumps(tokenizer_for(recipe).merges))
    tokenizer = Tokenizer(tuple((first, second) for first, second in json.loads(learnt.read_text())))
    network = Network(Shape(len(tokenizer.tokens)))
    print(f"{network.size:,} parameters, {len(tokenizer.tokens)} tokens in the vocabulary", flush=True)
    run = Run(recipe, tokenizer, network, asked.folder)
    if asked.resume:
        run.resume()
    run.train(asked.checkpoint)


if __name__ == "__main__":
    main()
