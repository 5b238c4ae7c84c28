"""Where the files of a run lie. Called with wildcards instead of names, the same functions give a rule's patterns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the folder `root`. A model's name is `teacher/NAME`, `init/TEACHER-bN` or `run/NAME`."""

    root: str

    def hub(self, repo: str, revision: str) -> str:
        """Folder of a data set of the Hugging Face hub."""
        return f"{self.root}/data/hub/{repo}/{revision}"

    def hub_file(self, repo: str, revision: str, file: str) -> str:
        """A file of such a data set."""
        return f"{self.hub(repo, revision)}/{file}"

    def prompts(self, name: str) -> str:
        """Training prompts."""
        return f"{self.root}/data/prompts/{name}.jsonl"

    def benchmark(self, name: str) -> str:
        """Rows of a benchmark."""
        return f"{self.root}/data/benchmarks/{name}.jsonl"

    def model(self, model: str) -> str:
        """Model folder in Hugging Face layout."""
        return f"{self.root}/models/{model}"

    def state(self, run: str, identity: str) -> str:
        """Checkpoints of a training run. Never a declared output: Snakemake would delete it when training fails."""
        return f"{self.root}/state/{run}-{identity}"

    def answers(self, model: str, decoding: str, benchmark: str, seed: int | str) -> str:
        """Every finished answer of a benchmark. Never a declared output, so that no answer is written twice."""
        return f"{self.root}/state/answers/{model}/{decoding}/{benchmark}/{seed}"

    def sample(self, model: str, decoding: str, benchmark: str, seed: int | str, part: str) -> str:
        """Answers of one shard; `part` reads SHARD-of-SHARDS."""
        return f"{self.root}/samples/{model}/{decoding}/{benchmark}/{seed}/{part}.jsonl"

    def cost(self, model: str, decoding: str, benchmark: str, seed: int | str, part: str) -> str:
        """What these answers took."""
        return f"{self.root}/samples/{model}/{decoding}/{benchmark}/{seed}/{part}.cost.json"

    def score(self, model: str, decoding: str, benchmark: str, seed: int | str, part: str) -> str:
        """Verdicts of one shard."""
        return f"{self.root}/scores/{model}/{decoding}/{benchmark}/{seed}/{part}.json"

    def merged(self, model: str, decoding: str, benchmark: str) -> str:
        """A benchmark's result over all rows and seeds."""
        return f"{self.root}/merged/{model}/{decoding}/{benchmark}.json"

    def table(self, name: str, suffix: str = "csv") -> str:
        """A table, or one of the files beside it."""
        return f"{self.root}/{name}.{suffix}"

    def figure(self, name: str, suffix: str = "svg") -> str:
        """A figure, or one of the files beside it."""
        return f"{self.root}/figures/{name}.{suffix}"

    @property
    def report(self) -> str:
        """The page that shows everything."""
        return f"{self.root}/report.html"

    def graph(self, name: str) -> str:
        """A drawing of the workflow."""
        return f"{self.root}/{name}.svg"

    def log(self, stage: str, name: str) -> str:
        """What a job printed; it opens with the command."""
        return f"{self.root}/logs/{stage}/{name}.log"

    def timing(self, stage: str, name: str) -> str:
        """Time and memory of a job."""
        return f"{self.root}/timings/{stage}/{name}.tsv"
