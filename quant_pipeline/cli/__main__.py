"""`python -m quant_pipeline.cli`: the same as the `quant` script, for processes that the desk starts itself."""

from quant_pipeline.cli.main import main

if __name__ == "__main__":
    main()
