"""What each kind of attention becomes in the viewer: labels, words, pictures with places, seconds, and weights."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest

from regard.explain.alignment import Alignment
from regard.explain.copied import copied_from
from regard.explain.documents import by_query, joined
from regard.explain.film import FrameFilm, PoseFilm
from regard.explain.marked import MarkedText
from regard.explain.pictures import png, skeleton, spectrogram
from regard.explain.timeline import Timeline
from regard.explain.transcript import Transcript
from regard.explain.words_on_image import WordsOnImage
from regard.tasks.families.boxes.results import DetectedObject, Detections
from regard.viewer.document import Axis, Document, Layer
from shown_documents import read_document

RNG = np.random.default_rng(0)


def _pixels(url: str) -> np.ndarray:
    images = pytest.importorskip("PIL.Image")
    kind, _, content = url.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(images.open(io.BytesIO(base64.b64decode(content))))


def _rows(document: Document, layer: int = 0) -> np.ndarray:
    rows: np.ndarray = document.layers[layer].tensors["rows"].numpy()
    return rows


def test_a_png_has_every_pixel_of_a_small_image() -> None:
    colours = RNG.integers(0, 256, (3, 5, 7), dtype=np.uint8)
    np.testing.assert_array_equal(_pixels(png(colours)).transpose(2, 0, 1), colours)
    np.testing.assert_array_equal(_pixels(png(colours[0])), colours[0])


def test_a_large_image_is_reduced_to_means() -> None:
    image = np.zeros((3, 4, 5), np.uint8)
    image[:, :2, :2] = 80
    image[:, 3, 4] = 40
    expected = [[80, 0, 0], [0, 0, 20]]
    np.testing.assert_array_equal(_pixels(png(image, longest=3)).transpose(2, 0, 1), [expected] * 3)


def test_a_spectrogram_has_time_to_the_right_and_low_bands_below() -> None:
    features = np.zeros((4, 3))
    features[3, 0] = 1.0
    drawn = _pixels(spectrogram(features))
    assert drawn.shape == (3, 4)
    assert np.argwhere(drawn).tolist() == [[2, 3]]


def test_a_skeleton_is_a_drawing_of_its_bones() -> None:
    kind, _, content = skeleton(np.array([[0.1, 0.2], [0.5, 0.75]]), [(0, 1)]).partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert 'd="M10,20L50,75M10,20h0M50,75h0"' in base64.b64decode(content).decode()


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"words": (0,)}, "words: expected one for each of 2 labels, got 1"),
        ({"places": (None,) * 3}, "places: expected one for each of 2 labels, got 3"),
        ({"seconds": ((0.0, 1.0),)}, "seconds: expected one for each of 2 labels, got 1"),
        ({"places": (None, (1, 0.0, 0.0, 1.0, 1.0)), "pictures": ("data:,",)}, "places: one is on picture 1"),
    ],
)
def test_an_axis_whose_parts_do_not_fit_raises(axis: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Axis(("a", "b"), **axis)


@pytest.mark.parametrize(
    ("shape", "keys", "message"),
    [((1, 1, 3), 1, r"attention: its axes have \(1, 2\) labels"), ((1, 1, 2), 2, "attention: is of the axes 0 and 2")],
)
def test_a_layer_without_fitting_axes_raises(shape: tuple[int, int, int], keys: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Document("", [Axis(["a"]), Axis(["b", "c"])], [Layer("attention", shape, 0, keys, {})])


def test_a_document_is_read_back_as_it_was() -> None:
    weights = np.array([[0.25, 0.75, 0.0]])
    content = read_document(Alignment(("▁Fri", "day", "<eos>"), ("▁vendredi",), weights).document("Friday").to_bytes())
    assert (content["format"], content["title"]) == ("regard.viewer", "Friday")
    queries, keys = content["axes"]
    assert (queries["labels"], keys["labels"], keys["words"]) == (["vendredi"], ["Fri", "day", "<eos>"], [0, 0, 1])
    assert content["layers"][0]["shape"] == [1, 1, 3]
    np.testing.assert_array_equal(content["layers"][0]["tensors"]["rows"], weights[None])


def test_an_alignment_shows_characters_instead_of_bytes_and_text_that_is_read_from_the_right() -> None:
    pieces = ("▁⟨d7⟩", "⟨a9⟩⟨d7⟩", "⟨9c⟩ום", "<eos>")
    shown = Alignment(pieces, ("▁a",), np.array([[0.1, 0.2, 0.3, 0.4]])).document("")
    queries, keys = shown.axes
    assert (keys.labels, keys.words, keys.right_to_left) == (("ש", "ל", "ום", "<eos>"), (0, 0, 0, 1), True)
    assert not queries.right_to_left
    np.testing.assert_allclose(_rows(shown), [[[0.2, 0.16, 0.24, 0.4]]], atol=1e-6)


def test_words_of_an_alignment_sum_to_those_of_its_words() -> None:
    pieces = ("▁Fri", "day", ",", "▁May", "▁", "5", "<eos>")
    one = Alignment(pieces, ("▁a",), RNG.random((1, 7)))
    axis = one.document("").axes[1]
    assert axis.labels == ("Fri", "day", ",", "May", " ", "5", "<eos>")
    sums = np.bincount(axis.words, one.weights[0])
    np.testing.assert_allclose(sums, one.words().weights[0])


def test_words_of_a_script_without_spaces_that_share_a_piece_are_one() -> None:
    shown = Alignment(("▁今天", "很", "好", "<eos>"), ("▁a",), np.full((1, 4), 0.25)).document("")
    assert shown.axes[1].words == (0, 1, 2, 3)


def test_tokens_that_attend_to_themselves_have_one_axis_and_all_heads() -> None:
    heads = RNG.random((4, 2, 2))
    shown = Alignment(("▁a", "▁b"), ("▁a", "▁b"), heads.mean(0)).document("", {"layer 1": heads})
    assert (len(shown.axes), shown.layers[0].queries, shown.layers[0].keys) == (1, 0, 0)
    np.testing.assert_array_equal(_rows(shown), heads.astype(np.float32))


def test_copied_words_are_from_the_places_of_the_same_word() -> None:
    weights = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    one = Alignment(("▁Rex", "▁barks", "▁Rex"), ("▁Rex", "▁dog"), weights)
    np.testing.assert_allclose(copied_from(one, np.array([0.5, 0.0])), [[0.2, 0.0, 0.3], [0.0, 0.0, 0.0]])


def test_documents_are_joined_with_their_axes() -> None:
    one = Alignment(("▁a", "▁b"), ("▁c",), np.array([[0.5, 0.5]])).document("x")
    both = joined("all", {"1": one, "2": one})
    assert [(layer.name, layer.queries, layer.keys) for layer in both.layers] == [
        ("1", 0, 1),
        ("2", 2, 3),
    ]


def test_words_of_a_text_are_keys_of_each_label() -> None:
    texts = [MarkedText("good news", [(0, 4), (5, 9)], np.array(row)) for row in ([0.25, 0.75], [1.0, 0.0])]
    shown = by_query("", Axis(("business", "sport"), unit="class"), [text.keys() for text in texts])
    assert (shown.axes[1].labels, shown.axes[1].unit) == (("good", "news"), "word")
    np.testing.assert_array_equal(_rows(shown), [[[0.25, 0.75], [1.0, 0.0]]])


def test_moments_of_a_sound_are_on_its_spectrogram() -> None:
    axis, weights = Timeline(np.zeros((8, 2)), np.array([0.5, 0.25, 0.25]), 1.0, 0.4).keys()["attention"]
    assert axis.labels == ("0.00 s", "0.40 s", "0.80 s")
    assert [place[1:] for place in axis.places if place] == [
        (0.0, 0.0, 0.4, 1.0),
        (0.4, 0.0, 0.8, 1.0),
        (0.8, 0.0, 1.0, 1.0),
    ]
    assert axis.seconds[0] == (0.0, 0.4)
    assert weights.sum() == 1.0


@pytest.mark.parametrize(
    ("text", "words"), [("ab c", (0, 0, 1, 2)), (" a", (0, 1)), ("", ()), ("a", (0,))], ids=["two", "blank", "", "one"]
)
def test_characters_of_a_transcript_have_words_and_times(text: str, words: tuple[int, ...]) -> None:
    count = len(text)
    spans = np.stack([np.arange(count), np.arange(count) + 1.0], 1)
    shown = Transcript(np.zeros((8, 2)), 4.0, 1.0, text, spans, np.full((count, 4), 0.25)).document(text)
    queries, keys = shown.axes
    assert queries.words == words
    assert (len(queries.seconds), len(keys.seconds)) == (count, 4)
    assert [layer.name for layer in shown.layers] == ["attention", "time by CTC"]
    np.testing.assert_array_equal(_rows(shown, 1)[0], np.eye(4)[:count])


def test_a_transcript_without_attention_shows_the_time_by_ctc() -> None:
    shown = Transcript(np.zeros((8, 2)), 2.0, 1.0, "a", np.array([[0.0, 2.0]]), None).document("a")
    assert [layer.name for layer in shown.layers] == ["time by CTC"]
    np.testing.assert_array_equal(_rows(shown), [[[0.5, 0.5]]])


def test_joints_of_a_clip_are_on_the_picture_of_their_frame() -> None:
    joints = np.array([[[0.0, 0.0], [10.0, 4.0]], [[2.0, 2.0], [4.0, 4.0]]])
    keys = PoseFilm(np.array([[0.1, 0.2], [0.3, 0.4]]), joints, ("hand", "foot"), ((0, 1),)).keys()
    assert list(keys) == ["frames", "joints"]
    axis, weights = keys["joints"]
    assert axis.labels == ("frame 1, hand", "frame 1, foot", "frame 2, hand", "frame 2, foot")
    assert [place[0] for place in axis.places if place] == [0, 0, 1, 1]
    assert (len(axis.pictures), weights.tolist()) == (2, [0.1, 0.2, 0.3, 0.4])
    edges = np.array([place[1:] for place in axis.places if place])
    assert 0 < edges.min() < edges.max() < 1
    np.testing.assert_allclose(keys["frames"][1], [0.3, 0.7])


def test_patches_of_frames_are_in_rows() -> None:
    frames = RNG.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    axis, _ = FrameFilm(np.full((2, 4), 0.125), frames).keys()["patches"]
    assert axis.labels[5] == "frame 2, row 1, column 2"
    assert axis.places[5] == (1, 0.5, 0.0, 1.0, 0.5)
    np.testing.assert_array_equal(_pixels(axis.pictures[1]).transpose(2, 0, 1), frames[1])


def test_words_attend_to_patches_of_an_image() -> None:
    one = WordsOnImage("a cat", [(0, 1), (2, 5)], np.arange(8.0).reshape(2, 2, 2) / 28, np.zeros((3, 4, 4), np.uint8))
    shown = one.document("a cat")
    assert shown.axes[0].labels == ("a", "cat")
    assert shown.axes[1].places[2] == (0, 0.0, 0.5, 0.5, 1.0)
    np.testing.assert_allclose(_rows(shown)[0, 1], np.arange(4.0, 8.0) / 28)


def test_boxes_attend_to_patches_of_the_square_around_the_image() -> None:
    found = DetectedObject("cat", 0.9, (2.0, 1.0, 4.0, 2.0), np.full((2, 2), 0.25))
    shown = Detections("a.png", np.zeros((3, 2, 4), np.uint8), (found,), True).document()
    boxes, patches = shown.axes
    assert (boxes.labels, boxes.places) == (("cat 0.90",), ((0, 0.5, 0.5, 1.0, 1.0),))
    # The image is the upper half of the square: the lower patches are outside of it.
    assert patches.places == ((0, 0.0, 0.0, 0.5, 1.0), (0, 0.5, 0.0, 1.0, 1.0), None, None)
