"""The models of the demo: which are there, and loading them while the page is already served."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from tfcamp.data.languages import languages_in_name
from tfcamp.demo.answers import Answer
from tfcamp.demo.examples import EXAMPLE_HEADLINES, example_pictures, example_sentences
from tfcamp.errors import UserError

NEWS, STREET_VIEW, TRANSLATION = "news", "street_view", "translation_en_zh"


@dataclass(frozen=True)
class DemoModels:
    """What answers on the page; None where there is no model.

    Attributes:
      folder: of all models.
      classify: headlines.
      read: pictures, as data URLs.
      translate: sentences, by the languages (from, to).
    """

    folder: Path
    classify: Answer | None
    read: Answer | None
    translate: dict[tuple[str, str], Answer]


def check_folder(folder: Path) -> None:
    """Looks for the folder of the models, before all that takes time.

    Raises:
      UserError: it is not there.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: expected a folder with models such as {NEWS}/1: name it with --saved-models"
        )


def load_models(folder: Path, loading: Executor) -> DemoModels:
    """Finds the models of a folder and begins to load them.

    Each is loaded and asked once in the background, so that the first answer is no slower than the
    others. What is asked earlier waits.

    Args:
      folder: with the models as ``<name>/<version>/``.
      loading: what loads them; with one worker, one after the other.
    """
    from tfcamp.demo import loaders  # TensorFlow: here, and not while another thread imports

    def answer_of(name: str, load: Callable[[Path], Answer], example: object) -> Answer | None:
        if not any(folder.glob(f"{name}/[0-9]*/saved_model.pb")):
            return None
        loaded: Future[Answer] = loading.submit(
            loaders.load_and_warm_up, load, folder / name, example
        )
        return lambda raw: loaded.result()(raw)

    classify = answer_of(NEWS, loaders.load_classifier, EXAMPLE_HEADLINES[0])
    read = answer_of(STREET_VIEW, loaders.load_reader, example_pictures()[0])
    translate = {}
    # The direction that predict.py takes is offered first.
    for path in sorted(folder.glob("translation_*_*"), key=lambda it: (it.name != TRANSLATION, it)):
        languages = languages_in_name(path.name)
        if languages is not None:
            example = example_sentences(languages[0])[0]
            answer = answer_of(path.name, loaders.load_translator, example)
            if answer is not None:
                translate[languages] = answer
    return DemoModels(folder, classify, read, translate)
