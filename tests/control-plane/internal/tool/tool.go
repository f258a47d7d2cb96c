// Package tool holds the lab's own small programs.
//
// They need next to nothing but the standard library: cmd/lab-tool builds them into a binary of a few
// megabytes for images and for supervisors, of which a test starts many.
package tool

// Programs holds every small program by name. A program returns its exit code.
var Programs = map[string]func() int{
	"pause":     pause,
	"web":       web,
	"supervise": supervise,
}
