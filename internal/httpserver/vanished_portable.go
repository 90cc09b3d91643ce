//go:build !linux

package httpserver

import "syscall"

// noticeVanished does nothing: only keep-alive finds vanished clients.
func noticeVanished(_, _ string, _ syscall.RawConn) error { return nil }
