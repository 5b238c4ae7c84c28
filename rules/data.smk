localrules:
    prepare_prompts,
    prepare_benchmark,


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
