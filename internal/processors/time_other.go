//go:build !unix

package processors

import (
	"errors"
	"time"
)

// processTime cannot be told here.
func processTime() (time.Duration, error) { return 0, errors.ErrUnsupported }
