package tool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killBound is how long processes get to disappear after SIGKILL.
const killBound = 10 * time.Second

// supervise runs a command for as long as its own parent lives.
//
//	supervise [--remove PATH]... -- COMMAND ARGUMENTS...
//
// Standard input is a pipe whose other end only the parent holds. When it closes, because the
// parent dropped it or died in whatever way, every process that the command started is killed and
// each PATH is removed. The first line of standard output is `started PID` or `failed REASON`.
// The command's own output goes to standard error. The exit code is that of the command.
//
// Why not PR_SET_PDEATHSIG in the parent: it fires at the death of the thread that spawned, and
// a test runner's threads come and go.
func supervise() int {
	remove, command, err := superviseArguments(os.Args[1:])
	if err != nil {
		fmt.Println("failed", err)
		return 2
	}
	// The supervisor ends by its pipe alone: a Ctrl-C or a group signal must not end it before
	// the command. Caught and dropped, not ignored: the command would inherit ignored signals.
	dropped := make(chan os.Signal, 1)
	signal.Notify(dropped, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	// Orphaned grandchildren become ours, so that killAll finds them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println("failed to become the reaper of orphans:", err)
		return 2
	}
	// The command gets PDEATHSIG in case the supervisor itself is killed: the main thread must
	// be the one that spawns it, as that signal follows the thread.
	runtime.LockOSThread()
	child := exec.Command(command[0], command[1:]...)
	child.Stdout, child.Stderr = os.Stderr, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := child.Start(); err != nil {
		fmt.Println("failed", err)
		return 127
	}
	fmt.Println("started", child.Process.Pid)

	parentGone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(parentGone)
	}()
	ended := make(chan int, 1)
	go func() { ended <- exitCode(child.Wait()) }()

	select {
	case code := <-ended:
		// The command has gone; whatever it left behind goes too.
		killAll(child.Process.Pid)
		return code
	case <-parentGone:
		killAll(child.Process.Pid)
		for _, path := range remove {
			if err := os.RemoveAll(path); err != nil {
				fmt.Fprintln(os.Stderr, "supervise: failed to remove", path, err)
			}
		}
		return 128 + int(syscall.SIGKILL)
	}
}

func superviseArguments(arguments []string) (remove, command []string, err error) {
	for len(arguments) > 0 {
		switch {
		case arguments[0] == "--" && len(arguments) > 1:
			return remove, arguments[1:], nil
		case arguments[0] == "--remove" && len(arguments) > 1:
			// A relative path would depend on a working directory that may be gone by then.
			if !filepath.IsAbs(arguments[1]) {
				return nil, nil, fmt.Errorf("--remove %s: not an absolute path", arguments[1])
			}
			remove = append(remove, arguments[1])
			arguments = arguments[2:]
		default:
			return nil, nil, fmt.Errorf("unexpected argument %q", arguments[0])
		}
	}
	return nil, nil, errors.New("no command")
}

// exitCode maps the end of a command to an exit code as shells do.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// killAll kills the process group of the command and every descendant of the supervisor, and
// waits until they are gone.
func killAll(group int) {
	_ = syscall.Kill(-group, syscall.SIGKILL)
	for deadline := time.Now().Add(killBound); time.Now().Before(deadline); {
		// Each round can turn grandchildren into children: repeat until none is left.
		children := descendants(os.Getpid())
		if len(children) == 0 {
			return
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		reapAll()
		time.Sleep(time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "supervise: processes left after SIGKILL")
}

// descendants lists all living processes below a process, by /proc.
func descendants(root int) []int {
	parents := map[int]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue
		}
		// The command name, in parentheses, may hold spaces: read on after the last one.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			parents[pid] = parent
		}
	}
	var found []int
	for pid := range parents {
		for ancestor := parents[pid]; ancestor > 1; ancestor = parents[ancestor] {
			if ancestor == root {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
