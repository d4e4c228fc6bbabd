"""Matching images and texts: the loss, the search in both directions, and what cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from caption_sets import write_images, write_table
from conftest import Result
from regard.data.captioned import built_in_scenes
from regard.errors import UserError
from regard.models.boxes import covered
from regard.models.matching import MatchingModel, Pairs, agreement
from regard.tasks.families.rank import matcher as matcher_module
from regard.tasks.families.rank import matching_evaluation, matching_trainable
from regard.tasks.families.rank import scores as scores_module
from regard.tasks.families.rank.captioned_sets import CaptionedSets, read_sets
from regard.tasks.families.rank.captioned_settings import CaptionedConfig
from regard.tasks.families.rank.contrast import contrastive, contrastive_of_all, of_hard_pairs, siblings, similar
from regard.tasks.families.rank.matcher import Matcher
from regard.tasks.families.rank.matching_evaluation import contains, scores_of
from regard.tasks.match.task import Match
from regard.tasks.results import Failure
from regard.tasks.running import load, settings_of, train
from regard.training.validation import Part

TINY = {
    "data": {"builtin_scenes": 60, "size": 32},
    "model": {"width": 4, "text_width": 16, "text_layers": 1, "dim": 8, "buckets": 50},
    "train": {"steps": 3, "batch": 16},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("match")
    train("match", TINY, folder / "run")
    write_images(folder / "images", 6)
    return folder / "run"


def _pairs(count: int = 5, captions: int = 3) -> Pairs:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float32)

    return Pairs(random(count, 4), random(count, captions, 4), random(count, 6, 4), random(count, 6, 4),
                 random(count, 7, 4), random(count, 7, 4), torch.zeros(count))  # fmt: skip


def test_the_contrastive_loss_leaves_out_siblings_and_equal_captions() -> None:
    pairs = _pairs()
    texts = torch.arange(15).view(5, 3)
    texts[4, 2] = texts[1, 0]  # the last image has a caption of the second
    similarity, expected = similar(pairs), []
    for image in range(5):
        for number in range(3):
            own = similarity[image, image, number]
            others = [similarity[image, other, at] for other in range(5) for at in range(3)
                      if not (texts[other, at] == texts[image]).any()]  # fmt: skip
            images = [similarity[other, image, number] for other in range(5)
                      if not (texts[image, number] == texts[other]).any()]  # fmt: skip
            for wrong in (others, images):
                expected.append(torch.stack([own, *wrong]).logsumexp(0) - own)
    torch.testing.assert_close(contrastive(similarity, siblings(texts)), torch.stack(expected).mean())


def test_the_loss_of_hard_pairs_is_that_of_the_most_similar_ones() -> None:
    pairs = _pairs()
    similarity, right = similar(pairs), siblings(torch.arange(15).view(5, 3))
    parts: tuple[Any, ...] = pairs[2:6]
    keys, values, queries, expected = parts
    fine = torch.stack([agreement(keys, values, queries[[at] * 5], expected[[at] * 5])[0] for at in range(5)], 1)
    wrong = similarity[..., 0].masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf)
    losses = []
    for at in range(5):
        for scores, near in ((fine[at], wrong[at]), (fine[:, at], wrong[:, at])):
            chosen = [at, *near.topk(2).indices.tolist()]
            losses.append(scores[chosen].logsumexp(0) - scores[at])
    torch.testing.assert_close(of_hard_pairs(pairs, similarity, right, hard=2), torch.stack(losses).mean())


def test_no_wrong_pair_is_no_loss_and_no_infinite_gradient() -> None:
    pairs = _pairs(1)
    pairs.images.requires_grad_()
    similarity, right = similar(pairs), siblings(torch.zeros(1, 3, dtype=torch.int64))
    loss = contrastive(similarity, right) + of_hard_pairs(pairs, similarity, right, hard=4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert pairs.images.grad is not None
    assert torch.isfinite(pairs.images.grad).all()


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("text", ["transformer", "gru"])
@pytest.mark.parametrize("attention", [True, False])
def test_padding_changes_no_text(kind: Any, text: Any, attention: bool) -> None:
    model = MatchingModel(9, 3, kind=kind, text=text, size=32, width=4, text_width=8, heads=2, dim=6,
                          attention=attention).eval()  # fmt: skip
    features = torch.arange(9)[:, None]
    short = model.read(torch.tensor([[3, 4]]), features)
    long = model.read(torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]]), features)
    torch.testing.assert_close(short.vectors[0], long.vectors[0])
    seen = model.see(torch.randn(2, 3, 32, 32))
    assert seen.vectors.shape == (2, 6)
    if attention:
        assert long.expected is not None
        assert not long.expected[0, 2:].any()
        one, other = (agreement(seen.keys[:1], seen.values[:1], texts.queries[:1], texts.expected[:1])[0]  # type: ignore[index]
                      for texts in (short, long))  # fmt: skip
        torch.testing.assert_close(one, other)


def test_a_text_finds_images_and_an_image_texts(run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    images = run.parent / "images"
    found = regard("match", run, "a red square", "--among", images, "--top", 2, "--json")
    assert found.status == 0, found.err
    result = json.loads(found.out)
    assert result["text"] == "a red square"
    assert [set(one) for one in result["images"]] == [{"image", "score"}] * 2
    assert result["images"][0]["score"] >= result["images"][1]["score"]
    (tmp_path / "texts.txt").write_text("a red square\na blue one\n\na red square\n")
    back = regard("match", run, "--image", images / "1.png", "--texts", tmp_path / "texts.txt", "--json")
    assert sorted(one["text"] for one in json.loads(back.out)["texts"]) == ["a blue one", "a red square"]
    both = regard("match", run, images / "1.png", images / "2.png", "--labels", "red, green,,blue,red", "--json")
    assert both.status == 0, both.err
    results = [json.loads(line) for line in both.out.splitlines()]
    assert [one["image"] for one in results] == [str(images / "1.png"), str(images / "2.png")]
    for one in results:
        assert sorted(label["text"] for label in one["texts"]) == ["blue", "green", "red"]
        assert sum(label["score"] for label in one["texts"]) == pytest.approx(1)


def test_the_search_ranks_by_similarity_and_agreement(run: Path) -> None:
    matcher = load(run)
    assert isinstance(matcher, Matcher)
    gallery = matcher.gallery(str(run.parent / "images"))
    order, scores = matcher.search("a red square", gallery, matcher.index(gallery))
    pictures, read = matcher.see(gallery.pixels), matcher.read(["a red square"])
    every = (pictures.vectors @ read.vectors.T)[:, 0].cpu().numpy() + matcher.agreements(pictures, read)[:, 0]
    np.testing.assert_allclose(scores, np.sort(every)[::-1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(every[order], scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attention", ["words", "none"])
@pytest.mark.parametrize("together", [1, 70, 333])
def test_scores_and_validation_are_the_same_in_blocks_of_any_size(
    attention: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {**TINY["model"], "attention": attention}
    train("match", {**TINY, "model": model}, tmp_path / "run")
    matcher, images = load(tmp_path / "run"), built_in_scenes(40, 32, seed=1)
    assert isinstance(matcher, Matcher)
    # Two captions for some. All differ: which of two equal ones comes first is a matter of rounding.
    assert len(set(images.texts)) == len(images)
    texts = tuple((*own, f"{own[0]} and a star")[: 1 + at % 2] for at, own in enumerate(images.texts))
    images = replace(images, texts=texts, scenes=())
    task, config = Match(), settings_of(tmp_path / "run")
    sets = CaptionedSets(images, images)
    trainable = task.trainable(config, tmp_path / "run", sets, lambda line: None)
    trainable.model.load_state_dict(matcher.model.state_dict())
    trainable.model.eval()

    def computed() -> tuple[dict[str, float], dict[str, float]]:
        scores = scores_of(matcher, images)
        with torch.inference_mode():
            validated = trainable.evaluate(Part.complete(len(images)))
        return {name: score.value for name, score in scores.items()}, validated

    whole, validated = computed()
    monkeypatch.setattr(matcher_module, "_TEXTS", 7)
    monkeypatch.setattr(scores_module, "TOGETHER", together)
    sizes, similarities = list[int](), matching_evaluation.similarities

    def measured(*given: Any) -> np.ndarray:
        block = similarities(*given)
        sizes.append(block.size)
        return block

    for module in (matching_evaluation, matching_trainable):
        monkeypatch.setattr(module, "similarities", measured)
    in_blocks, again = computed()
    assert in_blocks == whole
    assert again == pytest.approx(validated, rel=1e-5)
    assert max(sizes) <= max(together, len(images) + len(images) // 2)


def test_the_validation_loss_is_the_contrastive_loss_of_first_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_module, "TOGETHER", 7)
    pairs, numbers = _pairs(captions=1), torch.tensor([0, 1, 2, 1, 3])
    expected = contrastive(similar(pairs), siblings(numbers[:, None])).item()
    assert contrastive_of_all(pairs.images, pairs.texts[:, 0], numbers) == pytest.approx(expected, rel=1e-5)


def test_vectors_are_computed_once_for_the_same_content(run: Path, tmp_path: Path) -> None:
    write_images(tmp_path / "images", 4)
    matcher = load(run)
    assert isinstance(matcher, Matcher)

    def computed() -> int:
        with patch.object(Matcher, "image_vectors", autospec=True, side_effect=Matcher.image_vectors) as seen:
            matcher.index(matcher.gallery(str(tmp_path / "images")))
        return sum(len(call.args[1]) for call in seen.call_args_list)

    assert computed() == 4
    assert computed() == 0
    (tmp_path / "images" / "1.png").rename(tmp_path / "images" / "9.png")
    assert computed() == 0
    write_images(tmp_path / "images", 1, side=20)
    assert computed() == 1


def test_inputs_that_cannot_be_used_fail_alone(run: Path, tmp_path: Path) -> None:
    images = run.parent / "images"
    results = list(load(run).predict([" ", "a square"], among=str(images)))
    assert isinstance(results[0], Failure)
    assert not isinstance(results[1], Failure)
    (tmp_path / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    results = list(load(run).predict([str(tmp_path / "no.png"), str(images / "1.png")], labels="a,b"))
    assert isinstance(results[0], Failure)
    assert "not a usable image" in results[0].error
    assert not isinstance(results[1], Failure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a", "text"], "a text of several words needs quotation marks"),
        (["--image", "a.png"], "--image: needs --texts FILE or --labels"),
        (["a text", "--labels", "a", "--among", "b"], "--among: has the images to search"),
        (["a text", "--among", "missing"], "--among: missing is not a folder or archive of images"),
        (["a text", "--top", "0"], "--top: must be at least 1, got 0"),
        (["a.png", "--labels", " , "], "--labels: has no text to rank"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: list[str], message: str, run: Path, regard: Callable[..., Result]
) -> None:
    result = regard("match", run, *options)
    assert result.status in (1, 2)
    assert message in result.err


def test_a_folder_without_images_and_a_damaged_one_in_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matcher = load(run)
    with pytest.raises(UserError, match="no usable image in it"):
        list(matcher.predict(["a square"], among=str(tmp_path)))
    write_images(tmp_path, 2)
    (tmp_path / "3.png").write_bytes(b"")
    (result,) = matcher.predict(["a square"], among=str(tmp_path))
    assert len(result.to_dict()["images"]) == 2
    assert "3.png (the file is empty)" in capsys.readouterr().err


def test_look_draws_every_word_on_the_image_that_is_named(
    run: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    image = run.parent / "images" / "2.png"
    result = regard("look", run, "a red square", "--image", image, "--json", "--out", tmp_path / "words.svg")
    shown = json.loads(result.out)
    assert shown["attention"]["words"] == ["a", "red", "square"]
    assert shown["image"] == str(image)
    np.testing.assert_allclose(np.array(shown["attention"]["weights"]).sum((1, 2)), 1, rtol=1e-4)
    assert "<svg" in (tmp_path / "words.svg").read_text()


def test_a_divided_table_is_trained_validated_and_scored_by_its_parts(
    tmp_path: Path, regard: Callable[..., Result]
) -> None:
    write_table(tmp_path, 20)
    lines = (tmp_path / "train.tsv").read_text().splitlines()[1:]
    parts = ["train"] * 28 + ["val"] * 6 + ["test"] * 6
    rows = [f"{part}\t{line}" for part, line in zip(parts, lines, strict=True)]
    (tmp_path / "parts.tsv").write_text("\n".join(["split\timage\tcaption", *rows]))
    changed = {**TINY, "data": {"train": str(tmp_path / "parts.tsv"), "size": 32}}
    train("match", changed, tmp_path / "run")
    assert settings_of(tmp_path / "run").train.batch == 16
    plain = regard("eval", tmp_path / "run", "--data", tmp_path / "parts.tsv")
    assert "is divided into train, valid, test; name the part to score with --part" in plain.err
    test = regard("eval", tmp_path / "run", "--data", tmp_path / "parts.tsv", "--part", "test", "--json")
    assert json.loads(test.out)["images"]["score"] == 3
    assert json.loads(regard("eval", tmp_path / "run", "--json").out)["images"]["score"] == 3


def test_images_that_are_trained_and_validated_on_are_counted(tmp_path: Path) -> None:
    write_table(tmp_path, 12)
    lines = (tmp_path / "train.tsv").read_text().splitlines()
    (tmp_path / "valid.tsv").write_text("\n".join([lines[0], *lines[-4:]]))
    (tmp_path / "parts.tsv").write_text(
        "\n".join(["split\timage\tcaption", *(f"train\t{line}" for line in lines[1:]), f"val\t{lines[1]}"])
    )
    shutil.copy(tmp_path / "1.png", tmp_path / "copy.png")
    with (tmp_path / "parts.tsv").open("a") as file:
        file.write("\nval\tcopy.png\ta copy\nval\t12.png\tnot counted, since 12.png is for training\n")
        file.write("val\tother.png\tanother\n")
    write_images(tmp_path / "more", 1, side=20)
    shutil.copy(tmp_path / "more" / "1.png", tmp_path / "other.png")
    for given, expected in (
        ({"train": "train.tsv", "valid": "valid.tsv"}, "2 of the 2 validation images are also training images"),
        ({"train": "parts.tsv"}, "1 of the 2 validation images are also training images"),
    ):
        said: list[str] = []
        files = {name: str(tmp_path / file) for name, file in given.items()}
        read_sets(replace(CaptionedConfig(size=16), **files), 0, said.append)  # type: ignore[arg-type]
        assert any(line.startswith(expected) for line in said), said


def test_the_baseline_has_no_attention_to_look_at(tmp_path: Path) -> None:
    train("match", {**TINY, "model": {**TINY["model"], "attention": "none"}}, tmp_path / "run")
    with pytest.raises(UserError, match=r"trained with --model\.attention none"):
        load(tmp_path / "run").look("a red circle")
    assert next(iter(load(tmp_path / "run").predict(["a red circle"])))


def test_a_box_covers_places_in_part() -> None:
    share = covered(torch.tensor([[8, 0, 20, 8]]) / 64, 8)[0].view(8, 8)
    assert share[0].tolist() == [0, 1, 0.5, 0, 0, 0, 0, 0]
    assert not share[1:].any()
    assert contains((8, 0, 20, 8), 64, 8, 0, 1)
    assert not contains((8, 0, 20, 8), 64, 8, 0, 2)
    assert not contains((8, 0, 20, 8), 64, 8, 1, 1)
