localrules:
    table,
    sweep,
    curves,
    run_curves,
    rollout,
    report_page,
    drawing,


rule table:
    input:
        merged=lambda wildcards: [
            cell.origin.merged
            for line in plan.table(wildcards.table).lines
            for cell in line.cells
            if cell.origin
        ],
        paper=PAPER_VALUES,
    output:
        csv=layout.table("{table}"),
        json=layout.table("{table}", "json"),
        markdown=layout.table("{table}", "md"),
        html=layout.table("{table}", "html"),
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
        merged=lambda wildcards: [
            point.merged for point in plan.sweep(wildcards.sweep).points
        ],
        paper=PAPER_SWEEP,
    output:
        svg=layout.figure("{sweep}"),
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
        " --paper {input.paper:q} --out {output.svg:q} > {log:q} 2>&1"


# The runs side by side; each also has a figure of its own, which the report shows too.
rule curves:
    input:
        runs=lambda wildcards: [
            run.folder for run in plan.curves(wildcards.curves).runs
        ],
        paper=PAPER_TOKENS_PER_STEP,
        figures=lambda wildcards: [
            layout.figure(f"training/{run.name}")
            for run in plan.curves(wildcards.curves).runs
        ],
    output:
        svg=layout.figure("{curves}"),
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
        " --paper {input.paper:q} --out {output.svg:q} > {log:q} 2>&1"


rule run_curves:
    input:
        run=layout.model("run/{run}"),
        paper=PAPER_TOKENS_PER_STEP,
    output:
        svg=layout.figure("training/{run}"),
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
        " --paper {input.paper:q} --out {output.svg:q} > {log:q} 2>&1"


rule rollout:
    input:
        lambda wildcards: plan.rollout(wildcards.rollout).file,
    output:
        svg=layout.figure("{rollout}"),
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


# Templates are input, since `code` stands for Python only.
rule report_page:
    input:
        templates=[str(file) for file in sorted(TEMPLATES.iterdir())],
        tables=[table.json_file for table in plan.report().tables],
        figures=[figure.svg for figure in plan.report().figures],
    output:
        layout.report,
    log:
        layout.log("report", "report"),
    conda:
        "../envs/cpu.yaml"
    params:
        settings=canonical_json(plan.report()),
        code=plan.code("report.py"),
    shell:
        "python workflow_scripts/report.py --settings {params.settings:q}"
        " --out {output:q} > {log:q} 2>&1"


# The rules in their order, and every job.
rule drawing:
    output:
        layout.graph("{graph}"),
    log:
        layout.log("drawing", "{graph}"),
    wildcard_constraints:
        graph="dag|rulegraph",
    conda:
        "../envs/cpu.yaml"
    params:
        targets=[target for target in plan.targets() if target != layout.report],
        configuration=[str(file) for file in workflow.configfiles],
        settings=canonical_json(plan.settings),
    shell:
        "snakemake --{wildcards.graph} dot --nolock --quiet --configfile"
        " {params.configuration:q} -- {params.targets:q} 2> {log:q}"
        " | dot -Tsvg > {output:q}"
