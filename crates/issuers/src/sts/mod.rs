//! Credentials of AWS and of stores that speak its Security Token Service: `AssumeRole` with a session policy made of the scope.

#[cfg(test)]
mod evaluator;
mod planner;
mod policy;
