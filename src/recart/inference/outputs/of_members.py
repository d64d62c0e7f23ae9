"""From the members of a run to their outputs on a store."""

from __future__ import annotations

from collections.abc import Sequence

from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.outputs.ensemble import EnsembleOutputs
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.outputs.outputs import Outputs
from recart.training.member_file import LoadedMember

__all__ = ["all_outputs", "outputs_of"]


def outputs_of(member: LoadedMember, store: CohortStore) -> MemberOutputs:
    """Outputs of one trained member on the cells of `store`."""
    return MemberOutputs(member.stack, bind(member.features, store), store)


def all_outputs(members: Sequence[LoadedMember], store: CohortStore) -> Outputs:
    """Outputs of all members together; of the only one where there is one."""
    outputs = [outputs_of(member, store) for member in members]
    return outputs[0] if len(outputs) == 1 else EnsembleOutputs(outputs)
