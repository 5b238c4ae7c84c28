"""From the files of the benchmarks to rows, by subject; `opdlm.data.sources` says which reader reads which layout."""
