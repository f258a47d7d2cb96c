// Command control-plane is a whole Kubernetes in one program: etcd, the API server, the controller
// manager, the scheduler, the kubelet and kubectl, each upstream's own code.
//
// It is started as `control-plane NAME ARGUMENTS...`, or under NAME itself (a link or a bind mount
// called `kubelet` is the kubelet). The test harness starts it; it is never part of a release.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"slipway.dev/lab/control-plane/internal/tool"
)

// programs holds every name this binary answers to. A program returns its exit code.
var programs = map[string]func() int{
	"etcd":                    etcd,
	"kube-apiserver":          apiServer,
	"kube-controller-manager": controllerManager,
	"kube-scheduler":          scheduler,
	"kubelet":                 kubelet,
	"kubectl":                 kubectl,
}

func main() {
	for name, program := range tool.Programs {
		programs[name] = program
	}
	// Each program parses os.Args itself, as it does under its own name.
	if program, found := programs[filepath.Base(os.Args[0])]; found {
		os.Exit(program())
	}
	if len(os.Args) > 1 {
		if program, found := programs[os.Args[1]]; found {
			os.Args = os.Args[1:]
			os.Exit(program())
		}
	}
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: control-plane {%s} ARGUMENTS...\n", strings.Join(names, "|"))
	os.Exit(2)
}
