"""Claim sets: what loads, what is refused and in which words."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.errors import UsageError
from millrace.plugins.loading import plugin_files
from millrace.probing.claims import CLAIM_SETS, PACKAGE, fill, load_claims, placeholders
from millrace.probing.settings import ProbingConfig

ENABLED = {
    "entity_basic_grounding": "FR_BASIC_VISUAL_ENTITY_GROUNDING_FAILURE",
    "spatial_absolute_position": "FR_ABSOLUTE_POSITION_ERROR",
    "spatial_relative_position": "FR_RELATIVE_POSITION_ERROR",
    "intra_class_single_instance_localization": "FR_INTRA_CLASS_INSTANCE_POSITIONING_FAILURE",
    "scale_proportion_estimation": "FR_SCALE_PROPORTION_ERROR",
    "counting_object_instances": "FR_OBJECT_COUNTING_CONFUSION",
    "absence_negative_reasoning": "FR_ABSENCE_REASONING_FAILURE",
    "orientation_facing_direction": "FR_OBJECT_ORIENTATION_ERROR",
}
DISABLED = {
    "concept_single_object",
    "concept_multi_object_system",
    "occlusion_robustness",
    "geographic_place_recognition",
    "image_text_alignment",
}


def small_set(**changes: Any) -> dict[str, Any]:
    claim = {
        "claim_id": "how_many",
        "name": "How many",
        "capability": "counting",
        "target_failure_id": "FR_OBJECT_COUNTING_CONFUSION",
        "claim_template": "There are [COUNT] [OBJECT_TYPE].",
        "prefill_slots": ["OBJECT_TYPE"],
        "slots": {"OBJECT_TYPE": {"type": "object_category"}, "COUNT": {"type": "integer_value", "values": ["1", "2"]}},
    }
    return {"version": "3", "claims": [{**claim, **changes}]}


def original_file(**changes: Any) -> dict[str, Any]:
    return {
        "version": "1.1",
        "domain": "anything",
        "slot_type_definitions": {"integer_value": "a number"},
        "enabled_claim_ids": ["how_many"],
        "claim_schemas": [
            {
                "claim_id": "how_many",
                "name": "How many",
                "capability": "counting",
                "target_failure_id": "FR_OBJECT_COUNTING_CONFUSION",
                "claim_template": "Exactly [COUNT] of {things} can be seen.",
                "slots": {"COUNT": {"type": "integer_value", "values": [1, 2, 3], "selection_criteria": "", "description": ""}},
                "prefill_slots": "things",
                "baseline_instructions": ["Count."],
                "not_related_conditions": ["None are there."],
                "expected_outputs": ["The sentence."],
                "common_failure_modes": ["Counting twice."],
                "content_type": "count",
            },
            {
                "claim_id": "not_wanted",
                "name": "Not wanted",
                "capability": "none",
                "target_failure_id": "FR_OCCLUSION_SENSITIVITY",
                "claim_template": "It is [OBJECT_IDENTITY].",
                "slots": {"OBJECT_IDENTITY": {"type": "object_category", "values": []}},
            },
        ],
        **changes,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return path


def test_the_default_set_enables_eight_claims_and_knows_thirteen() -> None:
    claims = load_claims("default")
    assert {claim.claim_id: claim.target_failure_id for claim in claims.claims} == ENABLED
    assert {claim.claim_id for claim in claims.disabled} == DISABLED
    assert len(claims.failure_reasons) == 13


@pytest.mark.parametrize("name", list(plugin_files(PACKAGE, "yaml")))
def test_every_shipped_set_loads_and_says_each_slot_in_several_ways(name: str) -> None:
    for claim in load_claims(name).claims:
        assert set(claim.paraphrases) == set(claim.answer_slots)
        assert all(len(texts) >= 5 for texts in claim.paraphrases.values())
        assert set(placeholders(claim.claim_template)) == set(claim.slots)


def test_named_claims_replace_the_files_choice(tmp_path: Path) -> None:
    claims = load_claims("default", ["occlusion_robustness", "How many"])
    assert {claim.claim_id for claim in claims.claims} == {"occlusion_robustness", "counting_object_instances"}


def test_comments_and_layout_leave_the_hash_alone_and_words_change_it(tmp_path: Path) -> None:
    shipped = (CLAIM_SETS / "default.yaml").read_text()
    same = tmp_path / "same.yaml"
    same.write_text("# another comment\n" + yaml.safe_dump(yaml.safe_load(shipped), allow_unicode=True))
    other = tmp_path / "other.yaml"
    other.write_text(shipped.replace("The number of [OBJECT_TYPE]", "The whole number of [OBJECT_TYPE]", 1))
    default = load_claims("default").sha256
    assert load_claims(same).sha256 == default
    assert load_claims(other).sha256 != default
    assert load_claims("default", ["counting_object_instances"]).sha256 == default


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small_set(prefil_slots=[]), "unknown key 'claims.0.prefil_slots'; did you mean 'prefill_slots'?"),
        (small_set(slots={"COUNT": {"type": "integer"}}), "no slot type named 'integer'; did you mean 'integer_value'?"),
        (
            small_set(prefill_slots=["OBJECT_TIPE"]),
            "prefill slot 'OBJECT_TIPE' is not among the slots; did you mean 'OBJECT_TYPE'?",
        ),
        (
            small_set(claim_template="There are [COUNT] [OBJEKT]."),
            "the slot [OBJEKT] in 'There are [COUNT] [OBJEKT].' is not defined",
        ),
        (small_set(claim_template="There are some [OBJECT_TYPE]."), "the slot 'COUNT' does not occur in the claim_template"),
        (small_set(prefill_slots=["OBJECT_TYPE", "COUNT"]), "every slot is prefilled"),
        (
            small_set(target_failure_id="FR_OBJECT_COUNTING"),
            "unknown failure 'FR_OBJECT_COUNTING'; did you mean 'FR_OBJECT_COUNTING",
        ),
        (
            small_set(
                slots={"OBJECT_TYPE": {"type": "object_category"}, "COUNT": {"type": "integer_value", "values": ["1", "1"]}}
            ),
            "a value is listed twice",
        ),
        ({"version": "1", "claims": small_set()["claims"] * 2}, "claim_id 'how_many' is there twice"),
    ],
)
def test_a_faulty_claim_set_is_refused_with_the_place_and_the_fault(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "mine.yaml", content)
    with pytest.raises(UsageError) as refusal:
        load_claims(path)
    assert message in str(refusal.value)
    assert "mine.yaml" in str(refusal.value)


def test_an_unknown_claim_or_set_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"no claim 'counting_objects'.*did you mean 'counting_object_instances'"):
        load_claims("default", ["counting_objects"])
    with pytest.raises(UsageError, match="no claim set named 'defalt'; did you mean 'default'"):
        load_claims("defalt")
    with pytest.raises(UsageError, match="there is no config file"):
        load_claims("nowhere/mine.yaml")


def test_the_originals_json_loads_with_its_own_enabled_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        claims = load_claims(write(tmp_path / "claim_template.json", original_file()))
    assert [claim.claim_id for claim in claims.claims] == ["how_many"]
    assert [claim.claim_id for claim in claims.disabled] == ["not_wanted"]
    claim = claims.claims[0]
    assert claim.prefill_slots == ("things",)
    assert claim.slots["COUNT"].values == ("1", "2", "3")
    assert fill(claim.claim_template, {"things": "bottles"}) == "Exactly [COUNT] of bottles can be seen."
    assert "common_failure_modes, content_type, domain, slot_type_definitions" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (original_file(enabled_claim_ids=["how_menny"]), "no claim 'how_menny' to enable; did you mean 'how_many'?"),
        (original_file(enabled_claims=["how_many"]), "unknown key 'enabled_claims'; did you mean 'enabled_claim_ids'?"),
        (original_file(claim_schemas="none"), "the claims must be a list of mappings"),
    ],
)
def test_what_the_original_ignored_silently_is_an_error_here(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        load_claims(write(tmp_path / "claim_template.json", content))
    assert message in str(refusal.value)


def test_the_first_filled_list_of_the_originals_three_is_taken(tmp_path: Path) -> None:
    schemas = original_file()["claim_schemas"]
    content = {"claim_schemas": [], "global_templates": schemas[:1], "templates": schemas[1:]}
    assert [claim.claim_id for claim in load_claims(write(tmp_path / "old.json", content)).claims] == ["how_many"]


def test_failure_reasons_of_the_originals_format_replace_the_shipped_ones(tmp_path: Path) -> None:
    reason = {
        "failure_id": "FR_MINE",
        "failure_category": "mine",
        "failure_name": "Mine",
        "suggested_filtering_factors": ["[optional] x"],
    }
    reasons = write(tmp_path / "reasons.json", {"failure_reason_schema_version": "2.0", "failure_reasons": [reason]})
    mine = write(tmp_path / "mine.yaml", small_set(target_failure_id="FR_MINE"))
    assert load_claims(mine, failure_reasons=reasons).failure_reasons["FR_MINE"].failure_category == "mine"
    named = ProbingConfig(claims=str(mine), failure_reasons=reasons)
    assert named.claim_set().failure_reasons.keys() == {"FR_MINE"}
    with pytest.raises(UsageError, match="points at the unknown failure 'FR_MINE'"):
        ProbingConfig(claims=str(mine)).claim_set()


def test_a_subject_at_the_beginning_of_a_sentence_gets_a_capital() -> None:
    assert fill("[OBJECT_A] is [RELATIVE_DIRECTION] [OBJECT_B].", {"OBJECT_A": "the 7", "OBJECT_B": "the 3"}) == (
        "The 7 is [RELATIVE_DIRECTION] the 3."
    )


def test_other_words_are_another_claim_set_with_the_same_slots() -> None:
    words = {"counting_object_instances": "The picture shows [COUNT] [OBJECT_TYPE]."}
    usual, other = ProbingConfig().claim_set(), ProbingConfig(wordings=words).claim_set()
    assert other.claim("counting_object_instances").claim_template == words["counting_object_instances"]
    assert other.claim("counting_object_instances").slots == usual.claim("counting_object_instances").slots
    assert other.sha256 != usual.sha256
    assert [claim.claim_id for claim in other.claims] == [claim.claim_id for claim in usual.claims]
    assert ProbingConfig(wordings={}).claim_set() == usual


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"counting": "[COUNT] [OBJECT_TYPE]"}, "no claim 'counting' in use"),
        ({"counting_object_instances": "There are [COUNT]."}, "must have exactly the slots OBJECT_TYPE, COUNT"),
        ({"counting_object_instances": "[COUNT] [OBJECT_TYPE] [COLOUR]"}, "must have exactly the slots OBJECT_TYPE, COUNT"),
    ],
)
def test_words_for_no_claim_or_with_other_slots_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ProbingConfig(wordings=words).claim_set()


def test_the_shipped_proof_asks_every_claim_in_other_words_too() -> None:
    proof = yaml.safe_load((CLAIM_SETS.parents[2] / "configs" / "improve" / "proof.yaml").read_text())
    words = proof["improve"]["test"]["new"]["wordings"]
    claims = ProbingConfig(wordings=words).claim_set().claims
    assert {claim.claim_id for claim in claims} == set(words)
    assert all(claim.claim_template == words[claim.claim_id] for claim in claims)
