# Prompts go in, a block-diffusion student comes out. What is built is decided by the
# configuration: config/config.yaml, or the one given with --configfile.
from snakemake.utils import min_version

min_version("9.10")


# Used with `--software-deployment-method apptainer` only; envs/opdlm.def makes it.
container: "opdlm.sif"


# A configuration given on the command line replaces the default one; it is not laid over it.
if "teachers" not in config:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        plan.targets(),
