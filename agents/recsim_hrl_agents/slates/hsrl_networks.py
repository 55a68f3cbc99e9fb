"""The networks of HSRL: policies over tokens or over items, and a critic of prefixes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.draws import with_gumbel_noise
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import TwoTowers
from recsim_hrl_agents.slates.state import Encoder, SlateState
from recsim_hrl_agents.slates.token_tree import TokenTree

Draw = Callable[[int, int], np.ndarray]
"""Gives (B, n) uniform numbers in [0, 1)."""


class TokenPolicy(nn.Module):
    """Tokens of an item from coarse to fine, each level from its own context (hierarchical policy network).

    c_0 = s, pi_l = softmax(w_l c_l + b_l), c_{l + 1} = LayerNorm(c_l - e_l), where e_l is the embedding of the token
    that was chosen, or of the expected token: then no level knows what those above it chose.

    Args:
        market: Items, and the length of the histories.
        encoder: Of the state.
        width: W of the state and the contexts.
        tokens: V, tokens to choose from at each level.
        levels: L.
        residual: Whether contexts move on; or else every level sees the state alone.
        autoregressive: Whether e_l is the token that was chosen.
        together: Whether a slate stays with a token for as long as there are items under it.
    """

    def __init__(
        self,
        market: Market,
        encoder: Encoder,
        width: int,
        tokens: int,
        levels: int,
        residual: bool,
        autoregressive: bool,
        together: bool,
    ) -> None:
        super().__init__()
        self.state = SlateState(market, encoder, width)
        self.heads = nn.ModuleList([nn.Linear(width, tokens) for _ in range(levels)])
        steps = levels - 1 if residual else 0
        self.tokens = nn.ModuleList([nn.Embedding(tokens, width) for _ in range(steps)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(steps)])
        self.residual, self.autoregressive, self.together = residual, autoregressive, together

    def following(self, level: int, contexts: Tensor, logits: Tensor, chosen: Tensor) -> Tensor:
        """Contexts c_{l + 1} (B, n, W) after the tokens ``chosen`` (n,) or (B, n) at ``level``.

        Args:
            level: l.
            contexts: c_l (B, n, W), or (B, 1, W) where no choice has made them differ.
            logits: (B, n, V) or (B, 1, V) at these contexts.
            chosen: Tokens.
        """
        if not self.residual:
            return contexts
        embeddings = self.tokens[level]
        taken = embeddings(chosen) if self.autoregressive else logits.softmax(-1) @ embeddings.weight  # (..., W)
        return self.norms[level](contexts - taken)

    @torch.no_grad()
    def best(
        self, observations: Observations, tree: TokenTree, available: Tensor, size: int, width: int, draw: Draw | None
    ) -> Tensor:
        """(B, size) places of items of a ``tree`` that are ``available`` (B, P), the best first.

        ``together``, the likeliest token comes first with the best of all items under it, then the next; with ``draw``
        tokens are drawn one after the other without replacement. Otherwise items stand in the order of their own
        probabilities, as far as a beam search finds them which keeps ``width`` prefixes of each length; with ``draw``
        they are drawn one after the other without replacement, exactly: Kool et al., "Stochastic Beams and Where to
        Find Them" (ICML 2019). That needs as many prefixes as items, and so does ``together``.
        """
        users, width = len(available), size if self.together or draw is not None else max(width, size)
        contexts = self.state(observations).unsqueeze(1)  # (B, 1, W)
        nodes = torch.zeros((users, 1), dtype=torch.long)  # (B, w)
        likely, keys = torch.zeros(users, 1), torch.zeros(users, 1)  # (B, w) log-probabilities, and what decides
        open_nodes = tree.open_nodes(available)
        for level, head in enumerate(self.heads):
            logits = head(contexts)  # (B, w or 1, V)
            allowed = tree.allowed(open_nodes, level, nodes) & keys.isfinite().unsqueeze(-1)  # (B, w, V)
            steps = logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)  # (B, w, V)
            stepped = (steps if self.together else likely.unsqueeze(-1) + steps).masked_fill(~allowed, -torch.inf)
            children = stepped if draw is None else perturbed(stepped, draw)  # (B, w, V)
            if draw is not None and not self.together:
                children = conditioned(children, keys).masked_fill(~allowed, -torch.inf)
            place = prefix_by_prefix(children, width) if self.together else highest(children, width)  # (B, w)
            keys, likely = (values.flatten(1).gather(1, place) for values in (children, stepped))
            kept, chosen = place // tree.tokens, place % tree.tokens  # (B, w)
            nodes = tree.children[level][nodes.gather(1, kept), chosen].clamp_max(len(tree.last[level]) - 1)
            if level < tree.levels - 1:
                if contexts.shape[1] > 1:
                    rows = torch.arange(users).unsqueeze(1)
                    contexts, logits = contexts[rows, kept], logits[rows, kept]
                contexts = self.following(level, contexts, logits, chosen)
        return tree.items[nodes[:, :size]]

    def token_log_probs(
        self, observations: Observations, tree: TokenTree, available: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How likely the tokens of the items at ``places`` (S, K) are, each after those above it.

        Returns:
            (S, K, L) log-probabilities, and (S, K, L) entropies of the distributions that they are from.
        """
        contexts = self.state(observations).unsqueeze(1)  # (S, 1, W)
        open_nodes, log_probs, entropies = tree.open_nodes(available), [], []
        for level, head in enumerate(self.heads):
            logits = head(contexts)  # (S, K or 1, V)
            allowed = tree.allowed(open_nodes, level, tree.nodes[level][places])  # (S, K, V)
            all_log_probs = logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)  # (S, K, V)
            chosen = tree.last[level][tree.nodes[level + 1][places]]  # (S, K)
            log_probs.append(all_log_probs.gather(-1, chosen.unsqueeze(-1)).squeeze(-1))
            finite = all_log_probs.masked_fill(~allowed, 0.0)
            entropies.append(-(finite.exp() * finite * allowed).sum(-1))
            if level < tree.levels - 1:
                contexts = self.following(level, contexts, logits, chosen)
        return torch.stack(log_probs, -1), torch.stack(entropies, -1)

    def scores(self, observations: Observations, items: Tensor, codes: Tensor) -> Tensor:
        """(B, n) log-probabilities of ``items`` (B, n) with ``codes`` (B, n, L), if every code were one of an item that
        can be shown."""
        contexts, total = self.state(observations).unsqueeze(1), torch.zeros(())
        for level, head in enumerate(self.heads):
            logits, chosen = head(contexts), codes[..., level]  # (B, n or 1, V), (B, n)
            log_probs = logits.log_softmax(-1).expand(-1, chosen.shape[1], -1)  # (B, n, V)
            total = total + log_probs.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)  # (B, n)
            if level < codes.shape[-1] - 1:
                contexts = self.following(level, contexts, logits, chosen)
        return total

    def choices(self, codes: Tensor) -> Tensor:
        """(S, K, L) bool, which tokens of slates with ``codes`` (S, K, L) were a choice.

        ``together``, those from the first on that differs from the item's above; the others go on with what was chosen
        there.
        """
        if not self.together:
            return torch.ones_like(codes, dtype=torch.bool)
        goes_on = (codes[:, 1:] == codes[:, :-1]).long().cumprod(-1).bool()  # (S, K - 1, L)
        return torch.cat([torch.ones_like(codes[:, :1], dtype=torch.bool), ~goes_on], 1)


class ItemPolicy(nn.Module):
    """One softmax over items, of a product of features of the state and of the item: what HSRL is without tokens.

    Args:
        market: Items, and the length of the histories.
        encoder: Of the state.
        width: W of the state and the features.
    """

    def __init__(self, market: Market, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.state = SlateState(market, encoder, width)
        self.towers = TwoTowers(width, torch.from_numpy(market.candidate_embeddings), (width, width))

    def best(
        self, observations: Observations, tree: TokenTree, available: Tensor, size: int, width: int, draw: Draw | None
    ) -> Tensor:
        """See :meth:`TokenPolicy.best`; all items are looked at."""
        log_probs = self._log_probs(observations, available)  # (B, P)
        if draw is not None:
            log_probs = perturbed(log_probs, draw)
        return log_probs.topk(size, 1).indices

    def _log_probs(self, observations: Observations, available: Tensor) -> Tensor:
        values = self.towers(self.state(observations))  # (B, P)
        return values.masked_fill(~available, -torch.inf).log_softmax(-1)

    def token_log_probs(
        self, observations: Observations, tree: TokenTree, available: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`TokenPolicy.token_log_probs`; an item is its only token."""
        log_probs = self._log_probs(observations, available)  # (S, P)
        finite = log_probs.masked_fill(~available, 0.0)
        entropy = -(finite.exp() * finite * available).sum(-1)  # (S,)
        return log_probs.gather(1, places).unsqueeze(-1), entropy[:, None, None].expand(*places.shape, 1)

    def choices(self, codes: Tensor) -> Tensor:
        """See :meth:`TokenPolicy.choices`; every item was one."""
        return torch.ones_like(codes[..., :1], dtype=torch.bool)

    def scores(self, observations: Observations, items: Tensor, codes: Tensor) -> Tensor:
        """(B, n) log-probabilities of ``items`` (B, n), but for what is the same for all items of a user."""
        return self.towers.values(self.state(observations), self.state.items.items(items))


class PrefixCritic(nn.Module):
    """Values of a state, and of a slot of its slate given the first tokens of the item there (multi-level critic).

    v_0 = s + slot, v_{l + 1} = LayerNorm(v_l - e_l): the policy's contexts, with embeddings of its own and always of
    the tokens that were chosen.

    Args:
        market: Items, the length of the histories, and the slots.
        encoder: Of the state.
        width: W of the state and the contexts.
        tokens: V, tokens to choose from at each level.
        depths: Prefixes that are valued: those of 0 to ``depths`` - 1 tokens.
    """

    def __init__(self, market: Market, encoder: Encoder, width: int, tokens: int, depths: int) -> None:
        super().__init__()
        self.state = SlateState(market, encoder, width)
        self.slots = nn.Embedding(market.slate_size, width)
        self.tokens = nn.ModuleList([nn.Embedding(tokens, width) for _ in range(depths - 1)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(depths - 1)])
        self.heads = nn.ModuleList([_value_head(width) for _ in range(depths)])
        self.of_state = _value_head(width)

    def values(self, observations: Observations) -> Tensor:
        """V(s) (S,)."""
        return self.of_state(self.state(observations)).squeeze(-1)

    def forward(self, observations: Observations, codes: Tensor) -> tuple[Tensor, Tensor]:
        """V(s) (S,), and values (S, K, depths) of the prefixes of ``codes`` (S, K, L), the empty one first."""
        state = self.state(observations)  # (S, W)
        contexts = state.unsqueeze(1) + self.slots.weight  # (S, K, W)
        values = [self.heads[0](contexts)]
        for level, head in enumerate(self.heads[1:]):
            contexts = self.norms[level](contexts - self.tokens[level](codes[..., level]))  # (S, K, W)
            values.append(head(contexts))
        return self.of_state(state).squeeze(-1), torch.cat(values, -1)


def perturbed(log_probs: Tensor, draw: Draw) -> Tensor:
    """``log_probs`` (B, ...) with Gumbel noise."""
    uniform = torch.from_numpy(draw(len(log_probs), log_probs[0].numel())).view(log_probs.shape)
    # A drawn 0 would forbid what it stands for, and leave no number where it stands for an only choice.
    return with_gumbel_noise(log_probs, 1.0, uniform.clamp_min(torch.finfo(uniform.dtype).tiny))


def conditioned(keys: Tensor, largest: Tensor) -> Tensor:
    """Gumbel keys (..., V) as they would be if the largest of each V had been ``largest`` (...).

    Args:
        keys: (..., V) log-probabilities with Gumbel noise.
        largest: (...) the key of the prefix that they go on from.
    """
    largest = largest.unsqueeze(-1)
    most = keys.amax(-1, keepdim=True)
    # -log(exp(-largest) - exp(-most) + exp(-keys)) without overflow (Kool et al., appendix B.3)
    v = largest - keys + torch.log1p(-torch.exp(keys - most))
    return largest - v.clamp_min(0.0) - torch.log1p(torch.exp(-v.abs()))


def highest(keys: Tensor, size: int) -> Tensor:
    """(B, w) flat places in ``keys`` (B, n, V) of the highest, at most ``size``, the highest first."""
    return keys.flatten(1).topk(min(size, keys[0].numel()), 1).indices


def prefix_by_prefix(keys: Tensor, size: int) -> Tensor:
    """(B, w) flat places in ``keys`` (B, n, V), at most ``size``: all that are finite of the first of n, the highest
    first, then those of the second, and so on; at last, where they are too few, others."""
    tokens = keys.shape[-1]
    ordered, best = keys.sort(-1, descending=True)  # (B, n, V)
    is_missing = (~ordered.isfinite()).flatten(1).to(torch.uint8)  # (B, n V)
    first = is_missing.argsort(dim=1, stable=True)[:, :size]  # (B, w)
    return first // tokens * tokens + best.flatten(1).gather(1, first)


def _value_head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
