// Command lab-tool is the small half of the lab's programs: `pause`, `web` and `supervise`,
// as `lab-tool NAME ARGUMENTS...` or under NAME itself. Images and supervisors use it, because a
// process of the big binary costs tens of megabytes before it does anything.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"slipway.dev/lab/control-plane/internal/tool"
)

func main() {
	if program, found := tool.Programs[filepath.Base(os.Args[0])]; found {
		os.Exit(program())
	}
	if len(os.Args) > 1 {
		if program, found := tool.Programs[os.Args[1]]; found {
			os.Args = os.Args[1:]
			os.Exit(program())
		}
	}
	fmt.Fprintln(os.Stderr, "usage: lab-tool {pause|supervise|web} ARGUMENTS...")
	os.Exit(2)
}
