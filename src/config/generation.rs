//! The releases of FastAPI whose answers a dialect can give.

use super::declare::choice;

choice! {
    /// A release of FastAPI, with the pydantic, Starlette and uvicorn of its time.
    pub enum Generation {
        /// FastAPI 0.115, pydantic 2.10, Starlette 0.41.
        V0_115 = "0.115",
        /// FastAPI 0.127, pydantic 2.14, Starlette 0.50.
        V0_127 = "0.127",
        /// FastAPI 0.165, pydantic 2.14, Starlette 1.10.
        V0_165 = "0.165",
    }
}
