localrules:
    table,
    sweep,
    curves,
    run_curves,
    rollout,


rule table:
    input:
        merged=lambda wildcards: [
            cell.merged
            for line in plan.table(wildcards.table).lines
            for cell in line.cells
        ],
        paper=PAPER_VALUES,
    output:
        csv=layout.table("{table}"),
        json=layout.table("{table}", "json"),
        markdown=layout.table("{table}", "md"),
        html=report(
            layout.table("{table}", "html"),
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
    log:
        layout.log("table", "{table}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.table(wildcards.table)),
        code=plan.code("table.py"),
    shell:
        "python workflow_scripts/table.py --settings {params.settings:q}"
        " --paper {input.paper:q} --out {output.csv:q} > {log:q} 2>&1"


rule sweep:
    input:
        lambda wildcards: [point.merged for point in plan.sweep(wildcards.sweep).points],
    output:
        svg=report(
            layout.figure("{sweep}"),
            caption="captions/sweep.rst",
            category="Figures",
            labels={"figure": "{sweep}"},
        ),
        png=layout.figure("{sweep}", "png"),
        csv=layout.figure("{sweep}", "csv"),
    log:
        layout.log("sweep", "{sweep}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.sweep(wildcards.sweep)),
        code=plan.code("sweep.py"),
    shell:
        "python workflow_scripts/sweep.py --settings {params.settings:q}"
        " --out {output.svg:q} > {log:q} 2>&1"


# The runs side by side; each also has a figure of its own, which the report shows too.
rule curves:
    input:
        runs=lambda wildcards: [
            run.folder for run in plan.curves(wildcards.curves).runs
        ],
        figures=lambda wildcards: [
            layout.figure(f"training/{run.name}")
            for run in plan.curves(wildcards.curves).runs
        ],
    output:
        svg=report(
            layout.figure("{curves}"),
            caption="captions/curves.rst",
            category="Figures",
            labels={"figure": "{curves}"},
        ),
        png=layout.figure("{curves}", "png"),
        csv=layout.figure("{curves}", "csv"),
    log:
        layout.log("curves", "{curves}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.curves(wildcards.curves)),
        code=plan.code("curves.py"),
    shell:
        "python workflow_scripts/curves.py --settings {params.settings:q}"
        " --out {output.svg:q} > {log:q} 2>&1"


rule run_curves:
    input:
        layout.model("run/{run}"),
    output:
        svg=report(
            layout.figure("training/{run}"),
            caption="captions/run_curves.rst",
            category="Figures",
            labels={"figure": "training of {run}"},
        ),
        png=layout.figure("training/{run}", "png"),
        csv=layout.figure("training/{run}", "csv"),
    log:
        layout.log("curves", "training/{run}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.run_curves(wildcards.run)),
        code=plan.code("curves.py"),
    shell:
        "python workflow_scripts/curves.py --settings {params.settings:q}"
        " --out {output.svg:q} > {log:q} 2>&1"


rule rollout:
    input:
        lambda wildcards: plan.rollout(wildcards.rollout).file,
    output:
        svg=report(
            layout.figure("{rollout}"),
            caption="captions/rollout.rst",
            category="Figures",
            labels={"figure": "{rollout}"},
        ),
        png=layout.figure("{rollout}", "png"),
        csv=layout.figure("{rollout}", "csv"),
    log:
        layout.log("rollout", "{rollout}"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=lambda wildcards: canonical_json(plan.rollout(wildcards.rollout)),
        code=plan.code("rollout.py"),
    shell:
        "python workflow_scripts/rollout.py --settings {params.settings:q}"
        " --out {output.svg:q} > {log:q} 2>&1"
