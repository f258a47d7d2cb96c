package tool

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// web answers every request with 200 until TERM or INT: a workload with a readiness probe.
func web() int {
	flags := flag.NewFlagSet("web", flag.ExitOnError)
	address := flags.String("address", ":8080", "address to listen on")
	// ExitOnError: Parse does not return an error.
	_ = flags.Parse(os.Args[1:])

	stopped, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	server := &http.Server{
		Addr:              *address,
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(response, "ok")
		}),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, "web:", err)
		return 1
	case <-stopped.Done():
		return 0
	}
}
