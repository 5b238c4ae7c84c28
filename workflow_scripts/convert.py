"""Turn an autoregressive model folder into a block-diffusion initialisation."""

from opdlm.config.base import from_json
from opdlm.config.models import ConvertSettings
from opdlm.entry import run, stage_parser
from opdlm.files import alone
from opdlm.model.convert import convert


def main() -> None:
    given = stage_parser(__doc__, "source", "out").parse_args()
    with alone(given.out):
        convert(given.source, given.out, from_json(ConvertSettings, given.settings))


if __name__ == "__main__":
    run(main)
