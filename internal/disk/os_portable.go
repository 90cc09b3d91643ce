//go:build !linux

package disk

import (
	"errors"
	"os"
)

func syncData(f *os.File) error { return f.Sync() }

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

// directWriter is of no use where the system does not say how to write past its cache.
type directWriter struct{}

func (directWriter) write(*os.File, []byte, int64) (bool, error) { return false, nil }

func (directWriter) close() error { return nil }
