# The checkpoints of a training are no output of the rule, because Snakemake deletes the outputs
# of a failed job. Their folder has a new name whenever anything that the weights depend on
# changes, so that a run never goes on from another one's checkpoints.
# `exec`: a shell would die of the SIGTERM that training saves on, and Snakemake would not wait.
# One process for each of the job's GPUs, one without any. How they share their memory is in the
# section `hardware` of the configuration. Snakemake does not compare params that follow from
# resources, so a job with another number of GPUs goes on and does not train anew.
# A training that was stopped and saved ends with status 75, and torchrun then with 1; to Snakemake
# both have failed, and `retries` in the profile starts the same command again.
rule train:
    input:
        teacher=lambda wildcards: layout.model(
            f"teacher/{plan.settings.runs[wildcards.run].teacher}"
        ),
        student=lambda wildcards: layout.model(f"init/{plan.run_init(wildcards.run)}"),
        prompts=lambda wildcards: layout.prompts(
            plan.settings.runs[wildcards.run].prompts
        ),
    output:
        directory(layout.model("run/{run}")),
    log:
        layout.log("train", "{run}"),
    benchmark:
        layout.timing("train", "{run}")
    priority: 10  # the longest job: evaluations of other models fill the cores beside it
    conda:
        "../envs/gpu.yaml"
    threads: 1  # many small forward passes: a second thread gains nothing
    params:
        settings=lambda wildcards: canonical_json(plan.train_stage(wildcards.run)),
        code=plan.code("train.py"),
        state=lambda wildcards: plan.run_state(wildcards.run),
        gpus=lambda wildcards, resources: resources.get("gpu", 0),
        launcher=lambda wildcards, resources: plan.hardware(
            wildcards.run, resources.get("gpu", 0)
        ).launcher,
        hardware=lambda wildcards, threads, resources: plan.hardware(
            wildcards.run, resources.get("gpu", 0)
        ).options(threads),
    shell:
        "exec python -m opdlm.devices {params.gpus} {params.launcher}"
        " workflow_scripts/train.py --settings {params.settings:q}"
        " --teacher {input.teacher:q} --student {input.student:q}"
        " --prompts {input.prompts:q} --state {params.state:q}"
        " {params.hardware} --out {output:q} >> {log:q} 2>&1"
