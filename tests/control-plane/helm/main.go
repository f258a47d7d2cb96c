// Command helm is Helm's own program, built for the lab: it renders the chart for tests and
// installs it in the demo. It is never part of a release.
//
// It is a module of its own: Helm needs newer libraries than Kubernetes pins, and the control
// plane beside it must be built from exactly what Kubernetes pins.
package main

import (
	"errors"
	"fmt"
	"os"

	helmcmd "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
)

func main() {
	// Field ownership must not depend on the file's name.
	kube.ManagedFieldsManager = "helm"
	command, err := helmcmd.NewRootCmd(os.Stdout, os.Args[1:], helmcmd.SetupLogging)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// It prints its errors itself.
	if err := command.Execute(); err != nil {
		var failure helmcmd.CommandError
		if errors.As(err, &failure) && failure.ExitCode != 0 {
			os.Exit(failure.ExitCode)
		}
		os.Exit(1)
	}
}
