# Thin names for `cargo xtask`; `just` lists them.

# Lists the recipes.
default:
    @just --list

# Runs the main job on a real local cluster.
demo *arguments:
    cargo xtask demo {{arguments}}

# Sets everything up and runs every suite.
test *arguments:
    cargo xtask test {{arguments}}

# Builds and installs what the suites and the demo need.
setup:
    cargo xtask setup

# Writes the CRDs from the types.
crds *arguments:
    cargo xtask crds {{arguments}}

# Renders the chart to examples/install.yaml.
chart *arguments:
    cargo xtask chart {{arguments}}

# Builds the static programs and their images.
images:
    cargo xtask images

# The programs without one of their rules.
mutants *arguments:
    cargo xtask mutants {{arguments}}

# Measures `planner` or `agent` against its goals.
bench what:
    cargo xtask bench {{what}}

# Mangles what the agent reads: all targets for a minute, or `fuzz TARGET --seconds N`.
fuzz *arguments:
    cargo xtask fuzz {{arguments}}

# Many seeds, pairs of crashes, large models, mutants.
nightly *arguments:
    cargo xtask nightly {{arguments}}
