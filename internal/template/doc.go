// Package template reads Azure Resource Manager's deployment templates: it checks
// their parameters, evaluates their expressions, unrolls their loops and orders
// their resources. It does nothing itself: what a template asks of resources
// that exist goes through Runtime.
package template
