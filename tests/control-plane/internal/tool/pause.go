package tool

import (
	"os"
	"os/signal"
	"syscall"
)

// pause waits for TERM or INT. As the first process of a pod's sandbox it also reaps orphans.
func pause() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for {
		reapAll()
		if received := <-signals; received != syscall.SIGCHLD {
			return 0
		}
	}
}

// reapAll collects every child that has ended; one SIGCHLD may stand for several.
func reapAll() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
