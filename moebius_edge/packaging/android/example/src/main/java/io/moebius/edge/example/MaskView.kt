package io.moebius.edge.example

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.Rect
import android.util.AttributeSet
import android.view.MotionEvent
import android.view.View
import io.moebius.edge.Mask
import java.nio.ByteBuffer
import kotlin.math.max
import kotlin.math.min
import kotlin.math.roundToInt

/** Shows a photo, and paints a mask over it with a finger. Both are kept small; the mask is scaled to the photo's size. */
class MaskView(context: Context, attributes: AttributeSet) : View(context, attributes) {
    private var preview: Bitmap? = null
    private var strokes: Bitmap? = null
    private val place = Rect()
    private val brush = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeCap = Paint.Cap.ROUND
        strokeJoin = Paint.Join.ROUND
    }
    private val tint = Paint().apply { color = Color.argb(150, 220, 30, 60) }
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private var lastX = 0f
    private var lastY = 0f

    /** Shows the photo, with an empty mask. */
    fun show(photo: Bitmap) {
        val scale = min(1.0, MAX_PREVIEW.toDouble() / max(photo.width, photo.height))
        val width = max(1, (photo.width * scale).roundToInt())
        val height = max(1, (photo.height * scale).roundToInt())
        // Drawn, not `createScaledBitmap`, which may return the photo itself.
        preview = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888).also {
            Canvas(it).drawBitmap(photo, null, Rect(0, 0, width, height), smooth)
        }
        strokes = Bitmap.createBitmap(width, height, Bitmap.Config.ALPHA_8)
        invalidate()
    }

    /** Forgets what was painted. */
    fun clear() {
        strokes?.eraseColor(Color.TRANSPARENT)
        invalidate()
    }

    /** What was painted, for a photo of this size. */
    fun mask(width: Int, height: Int): Mask {
        val painted = strokes ?: return Mask.read(width, height) { _, row -> row.fill(0) }
        val stride = painted.rowBytes
        val alpha = ByteArray(painted.byteCount)
        painted.copyPixelsToBuffer(ByteBuffer.wrap(alpha))
        return Mask.read(width, height) { y, row ->
            val from = (y.toLong() * painted.height / height).toInt() * stride
            for (x in 0 until width) {
                // Half covered by the brush's soft edge counts.
                row[x] = if (alpha[from + (x.toLong() * painted.width / width).toInt()] < 0) 1 else 0
            }
        }
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val shown = preview ?: return
        val scale = min(width.toFloat() / shown.width, height.toFloat() / shown.height)
        val wide = (shown.width * scale).roundToInt()
        val high = (shown.height * scale).roundToInt()
        place.set(0, 0, wide, high)
        place.offset((width - wide) / 2, (height - high) / 2)
        canvas.drawBitmap(shown, null, place, smooth)
        strokes?.let { canvas.drawBitmap(it, null, place, tint) }
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        val painted = strokes ?: return false
        if (!isEnabled || place.isEmpty) return false
        val scale = painted.width.toFloat() / place.width()
        val x = (event.x - place.left) * scale
        val y = (event.y - place.top) * scale
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN -> stroke(painted, x, y, x, y, scale)
            MotionEvent.ACTION_MOVE -> stroke(painted, lastX, lastY, x, y, scale)
            MotionEvent.ACTION_UP -> performClick()
            else -> return false
        }
        lastX = x
        lastY = y
        return true
    }

    override fun performClick(): Boolean = super.performClick()

    private fun stroke(on: Bitmap, fromX: Float, fromY: Float, toX: Float, toY: Float, scale: Float) {
        brush.strokeWidth = BRUSH_DP * resources.displayMetrics.density * scale
        Canvas(on).drawLine(fromX, fromY, toX, toY, brush)
        invalidate()
    }

    private companion object {
        const val MAX_PREVIEW = 2048 // pixels of the longer side: Android refuses to draw bitmaps of 100 MB
        const val BRUSH_DP = 32f
    }
}
