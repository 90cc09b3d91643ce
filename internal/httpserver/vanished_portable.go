//go:build !linux

package httpserver

import "syscall"

// noticeVanished does nothing: keep-alive has to do.
func noticeVanished(_, _ string, _ syscall.RawConn) error { return nil }
