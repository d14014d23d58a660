from flask import Flask

from rolecall import Rolecall
from rolecall.policies import AllowAnyone
from rolecall_flask import current_grant, require_role, rolecall_blueprint

app = Flask(__name__)
app.register_blueprint(rolecall_blueprint(Rolecall.from_env(plugins=[AllowAnyone("moderator")])), url_prefix="/video")


@app.post("/rooms/<session_id>/lock")
@require_role("moderator")
def lock(session_id):
    return {"locked_by": current_grant.data}
