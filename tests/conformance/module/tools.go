//go:build tools

// Package tools names what is built from this module, so that `go mod tidy` keeps what that needs.
package tools

import (
	_ "k8s.io/kubernetes/test/e2e"
)
