# Nodes of a cluster often have no way to the hub.
localrules:
    fetch_teacher,


pretrained = named(plan.settings.teachers, source=None)


# OpenMP threads that spin while they wait make training five times slower as soon as anything
# else runs on the machine; passive ones cost nothing.
rule pretrain_teacher:
    output:
        directory(layout.model("teacher/{teacher}")),
    log:
        layout.log("pretrain_teacher", "{teacher}"),
    benchmark:
        layout.timing("pretrain_teacher", "{teacher}")
    wildcard_constraints:
        teacher=one_of(pretrained),
    conda:
        "../envs/cpu.yaml"
    threads: 2
    params:
        settings=lambda wildcards: canonical_json(
            plan.settings.teachers[wildcards.teacher].pretrain
        ),
        code=plan.code("pretrain_teacher.py"),
    shell:
        "export OMP_WAIT_POLICY=passive; exec python -m opdlm.devices 0"
        " python workflow_scripts/pretrain_teacher.py"
        " --settings {params.settings:q}"
        " --threads {threads} --out {output:q} > {log:q} 2>&1"


rule fetch_teacher:
    output:
        directory(layout.model("teacher/{teacher}")),
    log:
        layout.log("fetch_teacher", "{teacher}"),
    wildcard_constraints:
        teacher=one_of(set(plan.settings.teachers) - set(pretrained)),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(
            plan.settings.teachers[wildcards.teacher]
        ),
        code=plan.code("fetch_teacher.py"),
    shell:
        "python workflow_scripts/fetch_teacher.py --settings {params.settings:q}"
        " --out {output:q} > {log:q} 2>&1"


rule convert:
    input:
        lambda wildcards: layout.model(f"teacher/{plan.init(wildcards.init)[0]}"),
    output:
        directory(layout.model("init/{init}")),
    log:
        layout.log("convert", "{init}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.init(wildcards.init)[1]),
        code=plan.code("convert.py"),
    shell:
        "python workflow_scripts/convert.py --settings {params.settings:q}"
        " --source {input:q} --out {output:q} > {log:q} 2>&1"
