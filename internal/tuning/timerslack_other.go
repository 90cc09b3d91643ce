//go:build !linux

package tuning

// WidenTimers does nothing: only Linux has a timer slack.
func WidenTimers() error { return nil }
