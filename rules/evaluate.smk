localrules:
    merge,


# Finished answers lie in `kept`, which is no output, since Snakemake deletes the outputs of a job
# that failed or was killed: none is written twice, whatever happens, and into whatever number of
# shards a benchmark is divided.
rule generate:
    input:
        model=layout.model("{model}"),
        rows=layout.benchmark("{benchmark}"),
    output:
        samples=layout.sample(
            "{model}", "{decoding}", "{benchmark}", "{seed}", "{part}"
        ),
        cost=layout.cost("{model}", "{decoding}", "{benchmark}", "{seed}", "{part}"),
    log:
        layout.log("generate", "{model}/{decoding}/{benchmark}/{seed}/{part}"),
    benchmark:
        layout.timing("generate", "{model}/{decoding}/{benchmark}/{seed}/{part}")
    conda:
        "../envs/gpu.yaml"
    threads: 1
    params:
        settings=lambda wildcards: canonical_json(
            plan.generate_stage(
                wildcards.decoding,
                wildcards.benchmark,
                int(wildcards.seed),
                wildcards.part,
            )
        ),
        code=plan.code("generate.py"),
        gpus=lambda wildcards, resources: resources.get("gpu", 0),
        kept=lambda wildcards: layout.answers(
            wildcards.model, wildcards.decoding, wildcards.benchmark, wildcards.seed
        ),
    shell:
        "exec python -m opdlm.devices {params.gpus}"
        " python workflow_scripts/generate.py --settings {params.settings:q}"
        " --model {input.model:q} --rows {input.rows:q} --threads {threads}"
        " --kept {params.kept:q} --cost {output.cost:q} --out {output.samples:q}"
        " >> {log:q} 2>&1"


rule score:
    input:
        rows=layout.benchmark("{benchmark}"),
        samples=layout.sample(
            "{model}", "{decoding}", "{benchmark}", "{seed}", "{part}"
        ),
    output:
        layout.score("{model}", "{decoding}", "{benchmark}", "{seed}", "{part}"),
    log:
        layout.log("score", "{model}/{decoding}/{benchmark}/{seed}/{part}"),
    conda:
        "../envs/cpu.yaml"
    threads: 1
    params:
        settings=lambda wildcards: canonical_json(plan.score_stage(wildcards.benchmark)),
        code=plan.code("score.py"),
        # Asks for `resources`, so that Snakemake does not compare it: verdicts do not depend on it.
        unsafe=lambda wildcards, resources: (
            "--unsafe" if plan.settings.unsafe_programs else ""
        ),
    shell:
        "python workflow_scripts/score.py --settings {params.settings:q}"
        " --rows {input.rows:q} --samples {input.samples:q} {params.unsafe}"
        " --out {output:q} > {log:q} 2>&1"


rule merge:
    input:
        rows=layout.benchmark("{benchmark}"),
        samples=lambda wildcards: plan.samples(**wildcards),
        scores=lambda wildcards: plan.scores(**wildcards),
    output:
        layout.merged("{model}", "{decoding}", "{benchmark}"),
    log:
        layout.log("merge", "{model}/{decoding}/{benchmark}"),
    conda:
        "../envs/cpu.yaml"
    params:
        code=plan.code("merge.py"),
    shell:
        "python workflow_scripts/merge.py --rows {input.rows:q}"
        " --samples {input.samples:q} --scores {input.scores:q}"
        " --out {output:q} > {log:q} 2>&1"
