"""Copy a teacher from a folder or from the Hugging Face hub."""

from opdlm.config.base import from_json
from opdlm.config.models import TeacherSettings
from opdlm.entry import run, stage_parser
from opdlm.errors import SettingsError
from opdlm.files import alone
from opdlm.model.checkpoint import fetch


def main() -> None:
    given = stage_parser(__doc__, "out").parse_args()
    settings = from_json(TeacherSettings, given.settings)
    if settings.source is None:
        raise SettingsError("source: this teacher is to be pretrained, not fetched")
    with alone(given.out):
        fetch(settings.source, settings.revision, given.out)


if __name__ == "__main__":
    run(main)
