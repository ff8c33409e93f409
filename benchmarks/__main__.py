"""`make bench`: every benchmark in a short form, one after another, under 20 minutes on two cores.

python -m benchmarks [--weights FILE] [--write]

The long forms are the scripts by themselves.
"""

import subprocess
import sys
import time

from benchmarks.report import ROOT, BenchmarkError, parser

SHORT = {
    "startup": ("3",),
    "live_page": ("--seconds", "20"),
    "time_left": ("--backbones", "tf_efficientnet_lite0"),
    "predict": ("--calls", "30", "--images", "200"),
    "scaling": ("--sizes", "250", "1000"),
    "two_phase": ("--images", "160"),
    "elpv": ("--seeds", "1", "--images", "240"),
}
WITH_WEIGHTS = ("two_phase", "elpv")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--weights", help="VGG16 as safetensors with timm's names; default: what Thaw finds")
    options = made.parse_args()
    began, failed = time.monotonic(), []
    for name, words in SHORT.items():
        weights = ["--weights", options.weights] if options.weights and name in WITH_WEIGHTS else []
        write = ["--write"] if options.write else []
        command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *words, *weights, *write]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"\n{name}: {(time.monotonic() - began) / 60:.1f} minutes so far\n", file=sys.stderr, flush=True)
    if failed:
        raise BenchmarkError(f"These did not end well, and say why above: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
