localrules:
    fetch_rows,
    prepare_prompts,
    prepare_benchmark,


# The path says all that the file depends on, hence neither `settings` nor `code`.
rule fetch_rows:
    output:
        layout.hub_file("{repo}", "{revision}", "{file}"),
    log:
        layout.log("fetch_rows", "{repo}/{revision}/{file}"),
    wildcard_constraints:
        repo="[^/]+/[^/]+",
        revision="[^/]+",
    conda:
        "../envs/cpu.yaml"
    params:
        folder=lambda wildcards: layout.hub(wildcards.repo, wildcards.revision),
    shell:
        "hf download {wildcards.repo:q} {wildcards.file:q} --repo-type dataset"
        " --revision {wildcards.revision:q} --local-dir {params.folder:q}"
        " > {log:q} 2>&1"


rule prepare_prompts:
    input:
        file=lambda wildcards: plan.source_file(
            plan.settings.prompts[wildcards.prompts].source
        ),
    output:
        layout.prompts("{prompts}"),
    log:
        layout.log("prepare_prompts", "{prompts}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(
            plan.settings.prompts[wildcards.prompts]
        ),
        code=plan.code("prepare_prompts.py"),
    shell:
        "python workflow_scripts/prepare_prompts.py --settings {params.settings:q}"
        " --file {input.file:q} --out {output:q} > {log:q} 2>&1"


rule prepare_benchmark:
    input:
        file=lambda wildcards: plan.source_file(
            plan.settings.benchmarks[wildcards.benchmark].source
        ),
    output:
        layout.benchmark("{benchmark}"),
    log:
        layout.log("prepare_benchmark", "{benchmark}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.rows_stage(wildcards.benchmark)),
        code=plan.code("prepare_benchmark.py"),
    shell:
        "python workflow_scripts/prepare_benchmark.py --settings {params.settings:q}"
        " --file {input.file:q} --out {output:q} > {log:q} 2>&1"
