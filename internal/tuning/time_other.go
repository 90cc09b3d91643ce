//go:build !unix

package tuning

import (
	"errors"
	"time"
)

// processTime is not supported on this system.
func processTime() (time.Duration, error) { return 0, errors.ErrUnsupported }
